"""Pages of records: read as they were written, damage told, nonsense refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import BundleId
from fileflux.core.node_records import RECORD_BYTES_MAX, decode_records, encode_record
from fileflux.storage_node.samples import sample_bundle

BUNDLE = sample_bundle(1)
HEADER = BUNDLE.view.header
RECORD = bytes(BUNDLE.data[:96]) + bytes(BUNDLE.data[HEADER.tables_offset :])
OTHER = BundleId(b"another bundle!!")


def test_a_page_is_read_as_it_was_written() -> None:
    page = encode_record(HEADER.bundle_id, RECORD) + encode_record(OTHER, None)
    whole, unreadable = decode_records(page)

    assert whole.index is not None
    assert whole.index.header == HEADER
    assert [whole.index.meta(p) for p in whole.index.chunks()] == [
        BUNDLE.view.meta(p) for p in BUNDLE.view.chunks()
    ]
    assert (unreadable.bundle_id, unreadable.index) == (OTHER, None)
    assert decode_records(b"") == []


def test_any_flipped_bit_of_a_record_is_told() -> None:
    rng = random.Random(3)
    for at in [*range(96), *rng.sample(range(96, len(RECORD)), 100)]:
        damaged = bytearray(RECORD)
        damaged[at] ^= 1 << rng.randrange(8)
        (held,) = decode_records(encode_record(HEADER.bundle_id, bytes(damaged)))
        assert held.index is None
        assert held.problem


def test_a_record_of_another_bundle_than_it_is_named_is_not_believed() -> None:
    (held,) = decode_records(encode_record(OTHER, RECORD))

    assert (held.index, held.problem) == (None, "the node sent another bundle")


@given(st.integers(0, len(RECORD) + 20))
def test_a_page_that_breaks_off_is_refused(length: int) -> None:
    page = encode_record(HEADER.bundle_id, RECORD)
    if length in (0, len(page)):
        return
    with pytest.raises(FormatInvalid):
        decode_records(page[:length])


@given(st.binary(max_size=300))
def test_whatever_a_node_sends_nothing_else_is_raised(raw: bytes) -> None:
    try:
        assert all(held.index is None for held in decode_records(raw))
    except FormatInvalid:
        return


def test_a_record_longer_than_any_is_refused() -> None:
    with pytest.raises(FormatInvalid):
        decode_records(encode_record(OTHER, bytes(RECORD_BYTES_MAX + 1)))
