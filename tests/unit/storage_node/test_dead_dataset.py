"""What a dataset tells without its node: everything that its bytes still say, and nothing else."""

from pathlib import Path

import pytest
from tests.contract.test_bundle_store import settings_for

from fileflux.core.bundle_format import encode_small
from fileflux.core.bundle_records import ChunkEntry, ChunkMeta
from fileflux.core.clock import SystemClock
from fileflux.core.errors import Invalid
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId
from fileflux.core.node_records import HeldBundle
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.dead_dataset import open_dead_dataset
from fileflux.storage_node.opening import open_node
from fileflux.storage_node.recovery import INDEX_FILE
from fileflux.storage_node.samples import received, sample_bundle

BUNDLES = [sample_bundle(seed, lengths=(300, 400_000)) for seed in range(6)]


async def fill(
    root: Path, *, extent_bytes_max: int = 1 << 30, bundles: list[IncomingBundle] = BUNDLES
) -> NodeId:
    """Let a node write bundles below `root`, one append each, and end."""
    node = await open_node(settings_for(root, extent_bytes_max), SystemClock())
    for bundle in bundles:
        await node.store.write([bundle])
    await node.close()
    return node.node_id


def found_in(root: Path, *, checks_data: bool = False) -> list[HeldBundle]:
    return list(open_dead_dataset(root).bundles(checks_data=checks_data))


def ids_of(held: list[HeldBundle]) -> set[BundleId]:
    return {one.bundle_id for one in held if one.index is not None}


def contents_of(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("extent_bytes_max", [1 << 30, 1 << 20], ids=["one extent", "sealed ones"])
async def test_every_bundle_is_found_and_nothing_is_touched(
    tmp_path: Path, extent_bytes_max: int
) -> None:
    node_id = await fill(tmp_path, extent_bytes_max=extent_bytes_max)
    before = contents_of(tmp_path)
    held = found_in(tmp_path, checks_data=True)

    assert open_dead_dataset(tmp_path).node_id == node_id
    assert ids_of(held) == {bundle.bundle_id for bundle in BUNDLES}
    for one in held:
        assert one.index is not None
        assert one.rotten == frozenset()
        meta = one.index.meta(one.index.chunk(1))
        assert meta.bucket == "bucket"
    assert contents_of(tmp_path) == before


async def test_the_index_the_identity_and_the_lock_may_all_be_gone(tmp_path: Path) -> None:
    node_id = await fill(tmp_path)
    for name in ("lock", "node-id", "epoch", INDEX_FILE):
        (tmp_path / name).unlink()

    assert open_dead_dataset(tmp_path).node_id == node_id
    assert ids_of(found_in(tmp_path)) == {bundle.bundle_id for bundle in BUNDLES}


@pytest.mark.parametrize("at", [0, 40, 200, -10], ids=["magic", "header", "data", "meta"])
@pytest.mark.parametrize("extent_bytes_max", [1 << 30, 1 << 20], ids=["open", "sealed"])
async def test_a_damaged_record_hides_none_of_the_others(
    tmp_path: Path, at: int, extent_bytes_max: int
) -> None:
    await fill(tmp_path, extent_bytes_max=extent_bytes_max)
    victim = BUNDLES[2]
    for path in (tmp_path / "extents").iterdir():
        raw = bytearray(path.read_bytes())
        start = raw.find(bytes(victim.data[:300]))
        if start >= 0:
            raw[start + at if at >= 0 else start + len(victim.data) + at] ^= 1
            path.write_bytes(raw)
    held = found_in(tmp_path, checks_data=True)

    damaged = at != 200
    others = {bundle.bundle_id for bundle in BUNDLES} - {victim.bundle_id}
    assert ids_of(held) - {victim.bundle_id} == others
    assert (victim.bundle_id in ids_of(held)) != damaged
    assert {one.rotten for one in held if one.bundle_id == victim.bundle_id} <= {
        frozenset(),
        frozenset({0}),
    }
    assert any(one.rotten for one in held) != damaged


@pytest.mark.parametrize("cut", [1, 200, 405_000])
async def test_a_file_that_was_cut_off_keeps_what_stands_before(tmp_path: Path, cut: int) -> None:
    await fill(tmp_path)
    (path,) = (tmp_path / "extents").glob("*.ffx")
    raw = path.read_bytes()
    path.write_bytes(raw[:-cut])
    found = ids_of(found_in(tmp_path))

    assert found >= {bundle.bundle_id for bundle in BUNDLES[:4]}
    assert BUNDLES[5].bundle_id not in found


@pytest.mark.parametrize("damage", ["cut off", "its index fails"])
async def test_what_a_client_wrote_is_never_taken_for_a_record(tmp_path: Path, damage: str) -> None:
    """An object's bytes may be a bundle: of a torn record they must not count as one of ours."""
    forged = sample_bundle(7)
    outer = bundle_of(bytes(1_000) + bytes(forged.data) + bytes(1_000))
    await fill(tmp_path, bundles=[BUNDLES[0], outer, BUNDLES[1]])
    (path,) = (tmp_path / "extents").glob("*.ffx")
    raw = bytearray(path.read_bytes())
    end = raw.index(bytes(outer.data)) + len(outer.data)
    raw[end - 10] ^= 1
    path.write_bytes(raw[: end - 100] if damage == "cut off" else raw)

    others = BUNDLES[:1] if damage == "cut off" else BUNDLES[:2]
    assert ids_of(found_in(tmp_path)) == {bundle.bundle_id for bundle in others}


def bundle_of(data: bytes) -> IncomingBundle:
    """Return a bundle of one object with these bytes."""
    meta = ChunkMeta(
        upload_id=UploadId(bytes(16)), bucket_id=BucketId(bytes(16)), bucket="bucket", key=b"key"
    )
    bundle_id = BundleId(b"of one object...")
    made = encode_small(bundle_id, SealId(bytes(16)), 1, [ChunkEntry(meta, data)])
    return received(bundle_id, b"".join(made.parts), made.crc)


async def test_whatever_else_lies_in_an_extent_is_passed_over(tmp_path: Path) -> None:
    await fill(tmp_path, bundles=BUNDLES[:1])
    extents = tmp_path / "extents"
    (extents / "0000000777.ffx").write_bytes(b"FFB1" * 5_000 + bytes(BUNDLES[1].data) + b"FFB1")
    (extents / "0000000778.ffx").write_bytes(b"")
    (extents / "notes.txt").write_bytes(b"mine")

    assert ids_of(found_in(tmp_path)) == {BUNDLES[0].bundle_id, BUNDLES[1].bundle_id}


def test_what_is_no_data_directory_of_a_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no storage node's data directory"):
        open_dead_dataset(tmp_path)
    (tmp_path / "extents").mkdir()
    with pytest.raises(Invalid, match="which node's it was"):
        open_dead_dataset(tmp_path)
