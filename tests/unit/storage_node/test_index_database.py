"""The index says where a bundle lies, or that it cannot be trusted."""

import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fileflux.core.errors import NodeFull
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.node_messages import DropItem
from fileflux.storage_node.index_database import (
    IndexBatch,
    IndexDatabase,
    IndexUnusable,
    Location,
    delete_database,
)

NODE = NodeId("6f2d8a54-95a1-4c39-9a0a-0d3c4c0f7e11")
ROWS = {
    BundleId(random.Random(n).randbytes(16)): Location(1 + n % 3, 64 + n, 100 + n, 200 + n, n)
    for n in range(300)
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def opened(path: Path) -> IndexDatabase:
    return IndexDatabase(path, NODE)


def filled(path: Path) -> None:
    database = opened(path)
    database.store(IndexBatch(rows=ROWS, seen_ends={1: 500, 2: 600, 3: 700}, facts={"a": 1}))
    database.close()


def test_what_was_stored_is_found_after_opening_again(path: Path) -> None:
    filled(path)
    database = opened(path)

    assert all(database.find(bundle_id) == at for bundle_id, at in ROWS.items())
    assert database.find(BundleId(b"?" * 16)) is None
    assert dict(database.page(None, 1_000)) == ROWS
    assert database.seen_ends() == {1: 500, 2: 600, 3: 700}
    assert database.fact("a") == 1
    assert [row.offset for row in database.rows_of(2)] == [65 + 3 * n for n in range(100)]
    database.check()
    database.close()


def test_an_extent_that_is_gone_takes_its_bundles_along(path: Path) -> None:
    filled(path)
    database = opened(path)

    assert database.forget_extent(2) == 100
    assert set(database.seen_ends()) == {1, 3}
    assert len(database.page(None, 1_000)) == 200
    database.close()


def test_garbage_is_counted_per_chunk_and_once(path: Path) -> None:
    filled(path)
    database = opened(path)
    bundle_id = next(iter(ROWS))
    present = {bundle_id: frozenset({0, 1, 5})}
    for _ in range(2):
        database.drop([DropItem(bundle_id, (0, 5, 6))], present)

    assert database.garbage_of(bundle_id) == {0, 5}
    assert database.find(bundle_id) is not None

    database.drop([DropItem(bundle_id, (1,))], present)
    assert database.find(bundle_id) is None
    assert database.garbage_of(bundle_id) == set()
    database.close()


def test_another_nodes_index_is_refused(path: Path) -> None:
    filled(path)
    with pytest.raises(IndexUnusable):
        IndexDatabase(path, NodeId("another"))


def test_a_row_that_was_changed_behind_our_back_is_noticed(path: Path) -> None:
    """A flipped bit in the file must not send a reader to another bundle's bytes."""
    filled(path)
    bundle_id = next(iter(ROWS))
    for column in ("extent", "offset", "length", "size", "crc"):
        connection = sqlite3.connect(path)
        connection.execute(
            f"UPDATE bundles SET {column} = {column} + 1 WHERE bundle_id = ?",  # noqa: S608
            (bundle_id,),
        )
        connection.commit()
        connection.close()
        database = opened(path)
        with pytest.raises(IndexUnusable):
            database.find(bundle_id)
        with pytest.raises(IndexUnusable):
            database.page(None, 1_000)
        database.store(IndexBatch(rows={bundle_id: ROWS[bundle_id]}))
        database.close()


def test_no_flipped_bit_of_the_file_gives_a_wrong_answer(path: Path) -> None:
    """Each either changes nothing that is read, hides a row, or is noticed."""
    filled(path)
    raw = path.read_bytes()
    rng = random.Random(8)
    for _ in range(300):
        damaged = bytearray(raw)
        damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        delete_database(path)
        path.write_bytes(damaged)
        try:
            database = opened(path)
        except IndexUnusable:
            continue
        try:
            for bundle_id in list(ROWS)[::10]:
                assert database.find(bundle_id) in (None, ROWS[bundle_id])
        except IndexUnusable:
            continue
        finally:
            database.close()


def test_a_file_that_is_no_database_is_unusable(path: Path) -> None:
    path.write_bytes(b"nothing of the kind" * 500)
    with pytest.raises(IndexUnusable):
        opened(path)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let every write beyond `size` fail, as a quota does: not with the error of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("has_room", "expected"), [(False, NodeFull), (True, IndexUnusable)])
def test_a_quota_that_is_used_up_is_a_full_disk_and_no_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch, has_room: bool, expected: type[Exception]
) -> None:
    """SQLite has a word for ENOSPC only; ZFS says EDQUOT, and an index is not lost by that."""
    monkeypatch.setattr("fileflux.storage_node.index_database.has_room", lambda directory: has_room)
    database = opened(path)
    size = path.with_name("index.sqlite-wal").stat().st_size
    with files_limited_to(size), pytest.raises(expected):
        database.store(IndexBatch(rows=ROWS))
    database.store(IndexBatch(rows=ROWS))

    assert dict(database.page(None, 1_000)) == ROWS
    database.close()


def test_a_damaged_row_gets_into_no_footer(path: Path) -> None:
    """The footer would be believed, with a CRC of its own."""
    filled(path)
    database = opened(path)
    database._writer.execute("UPDATE bundles SET length = length + 1 WHERE extent = 2")
    with pytest.raises(IndexUnusable):
        database.rows_of(2)
    database.close()
