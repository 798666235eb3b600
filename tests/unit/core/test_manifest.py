"""Manifests are compact, exact and never trusted blindly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import BundleId
from fileflux.core.model import Chunk, Manifest

CHUNKS = st.builds(
    Chunk,
    st.binary(min_size=16, max_size=16).map(BundleId),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
PARTS = st.tuples(st.integers(1, 10_000), st.integers(0, 2**40))


@given(st.lists(CHUNKS, max_size=20), st.lists(PARTS, max_size=20))
def test_a_manifest_survives_its_bytes(chunks: list[Chunk], parts: list[tuple[int, int]]) -> None:
    for manifest in (Manifest(chunks=tuple(chunks)), Manifest(parts=tuple(parts))):
        assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_one_error(raw: bytes) -> None:
    try:
        manifest = Manifest.from_bytes(raw)
    except FormatInvalid:
        return
    assert manifest.to_bytes() == raw or raw[2:] == b""


def test_the_largest_single_put_has_a_manifest_below_20_kib() -> None:
    chunks = tuple(Chunk(BundleId(bytes(16)), 0, 8 << 20) for _ in range(640))

    assert len(Manifest(chunks=chunks).to_bytes()) < 20 * 1024


def test_a_cut_manifest_is_refused() -> None:
    raw = Manifest(chunks=(Chunk(BundleId(bytes(16)), 0, 5),)).to_bytes()

    with pytest.raises(FormatInvalid):
        Manifest.from_bytes(raw[:-1])
