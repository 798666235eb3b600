"""Extents on a disk that is full, fails or hangs: nothing is believed that is not so."""

import asyncio
import errno
import os
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from fileflux.core.bundle_view import check_bundle, memory_reader
from fileflux.core.checksum import Buffer
from fileflux.core.clock import SystemClock
from fileflux.core.errors import (
    BundleCorrupt,
    ChunkCorrupt,
    Invalid,
    NodeFenced,
    NodeFull,
    NoSuchBundle,
)
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import MIB
from fileflux.storage_node.bundle_store import BundleStore
from fileflux.storage_node.extent_file import (
    Disk,
    DiskFailed,
    ExtentFile,
    OsDisk,
    extent_numbers,
    extent_path,
)
from fileflux.storage_node.extent_format import HEADER_SIZE_BYTES, ExtentHeader, ExtentRow
from fileflux.storage_node.extent_scan import scan_extent
from fileflux.storage_node.index_database import IndexDatabase, IndexUnusable, delete_database
from fileflux.storage_node.opening import OpenNode, open_node
from fileflux.storage_node.recovery import INDEX_FILE
from fileflux.storage_node.samples import sample_bundle
from fileflux.storage_node.settings import NodeSettings

CLOCK: Final = SystemClock()


class FaultyDisk:
    """The real disk until told otherwise. `short`: writes give at most so many bytes."""

    def __init__(self) -> None:
        self._real = OsDisk()
        self.write_error: int | None = None
        self.write_before_error = 0
        self.sync_error: int | None = None
        self.truncate_error: int | None = None
        self.short: int | None = None
        self.free: int | None = None
        self.hang: threading.Event | None = None
        self.is_hanging = False
        self.sync_count = 0

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int, /) -> int:
        if self.write_error is not None:
            if self.write_before_error:
                count = os.pwrite(fd, memoryview(buffers[0])[: self.write_before_error], offset)
                self.write_before_error = 0
                return count
            raise OSError(self.write_error, os.strerror(self.write_error))
        if self.short is not None:
            return os.pwrite(fd, memoryview(buffers[0])[: self.short], offset)
        return self._real.pwritev(fd, buffers, offset)

    def fdatasync(self, fd: int, /) -> None:
        if self.hang is not None:
            self.is_hanging = True
            self.hang.wait(30)
        self.sync_count += 1
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        self._real.fdatasync(fd)

    def ftruncate(self, fd: int, length: int, /) -> None:
        if self.truncate_error is not None:
            raise OSError(self.truncate_error, os.strerror(self.truncate_error))
        self._real.ftruncate(fd, length)

    def free_bytes(self, path: Path, /) -> int:
        return self._real.free_bytes(path) if self.free is None else self.free


def settings_for(directory: Path, **changes: object) -> NodeSettings:
    values = {"data_dir": directory, "cluster_secret": "s" * 16}
    room = {"reserve_bytes": 0, "ballast_bytes": 0}
    return NodeSettings.model_validate({**values, **room, **changes})


@asynccontextmanager
async def node_at(
    directory: Path, disk: Disk | None = None, **changes: object
) -> AsyncIterator[OpenNode]:
    node = await open_node(settings_for(directory, **changes), CLOCK, disk=disk)
    try:
        yield node
    finally:
        await node.close()


async def is_held(store: BundleStore, seed: int) -> bool:
    """Whether this bundle is there and every byte of it right."""
    bundle = sample_bundle(seed)
    try:
        stored = await store.open(bundle.bundle_id)
    except NoSuchBundle:
        return False
    raw = await stored.read(0, stored.view.header.size)
    check_bundle(memory_reader(raw))
    return bytes(raw) == bytes(bundle.data)


def newest_extent(directory: Path) -> Path:
    extents = directory / "extents"
    return extent_path(extents, extent_numbers(extents)[-1])


def crash(node: OpenNode) -> None:
    """End as a killed process does: no checkpoint, files and lock just go."""
    node.store._readers.close()
    node.store._database.close()
    node.store._appender.close()
    node.threads.close()
    node.dataset.release()


async def test_one_sync_serves_all_that_wait(tmp_path: Path) -> None:
    disk = FaultyDisk()
    async with node_at(tmp_path, disk) as node:
        before = disk.sync_count
        await node.store.write([sample_bundle(seed) for seed in range(50)])

        assert disk.sync_count == before + 1


async def test_short_writes_are_continued(tmp_path: Path) -> None:
    disk = FaultyDisk()
    disk.short = 700
    async with node_at(tmp_path, disk) as node:
        await node.store.write([sample_bundle(1), sample_bundle(2)])
    async with node_at(tmp_path) as node:
        assert await is_held(node.store, 1)
        assert await is_held(node.store, 2)


async def test_a_full_disk_leaves_the_extent_as_it_was(tmp_path: Path) -> None:
    """Also when a part was written before the disk said so."""
    disk = FaultyDisk()
    async with node_at(tmp_path, disk) as node:
        await node.store.write([sample_bundle(1)])
        size = newest_extent(tmp_path).stat().st_size
        disk.write_error, disk.write_before_error = errno.ENOSPC, 1_000
        with pytest.raises(NodeFull):
            await node.store.write([sample_bundle(2)])
        assert newest_extent(tmp_path).stat().st_size == size

        disk.write_error = None
        await node.store.write([sample_bundle(3)])
        assert [await is_held(node.store, seed) for seed in (1, 2, 3)] == [True, False, True]
        assert node.fence.reason is None


async def test_the_reserve_is_never_used(tmp_path: Path) -> None:
    disk = FaultyDisk()
    async with node_at(tmp_path, disk, reserve_bytes=10 * MIB) as node:
        disk.free = 10 * MIB + len(sample_bundle(1).data) - 1
        with pytest.raises(NodeFull):
            await node.store.write([sample_bundle(1)])
        disk.free += 1
        await node.store.write([sample_bundle(1)])


async def test_a_failed_sync_fences_the_node_and_is_never_tried_again(tmp_path: Path) -> None:
    """The kernel may have dropped the pages: a second sync would lie."""
    disk = FaultyDisk()
    node = await open_node(settings_for(tmp_path), CLOCK, disk=disk)
    await node.store.write([sample_bundle(1)])
    size = newest_extent(tmp_path).stat().st_size
    disk.sync_error = errno.EIO
    with pytest.raises(NodeFenced):
        await node.store.write([sample_bundle(2)])
    syncs = disk.sync_count
    disk.sync_error = None
    with pytest.raises(NodeFenced):
        await node.store.write([sample_bundle(3)])

    assert disk.sync_count == syncs
    assert node.fence.disk_failed.is_set()
    assert newest_extent(tmp_path).stat().st_size == size
    assert await is_held(node.store, 1)
    assert not await is_held(node.store, 2)
    crash(node)
    await _reopened_holds(tmp_path, {1: True, 2: False, 3: False})


async def _reopened_holds(directory: Path, expected: dict[int, bool]) -> None:
    async with node_at(directory) as again:
        assert {seed: await is_held(again.store, seed) for seed in expected} == expected


@pytest.mark.parametrize("crashes", [True, False])
async def test_what_a_full_disk_would_not_take_away_is_written_over(
    tmp_path: Path, crashes: bool
) -> None:
    """Old ZFS needs room to shorten a file. The leftover is never believed, nor sealed."""
    disk = FaultyDisk()
    node = await open_node(settings_for(tmp_path, extent_bytes_max=MIB), CLOCK, disk=disk)
    await node.store.write([sample_bundle(1)])
    disk.write_error = disk.truncate_error = errno.ENOSPC
    disk.write_before_error = 4_000
    with pytest.raises(NodeFull):
        await node.store.write([sample_bundle(2, lengths=(90_000,))])
    disk.write_error = None
    await node.store.write([sample_bundle(3, lengths=(10,))])
    assert node.fence.reason is None
    disk.truncate_error = None
    if crashes:
        crash(node)
        node = await open_node(settings_for(tmp_path, extent_bytes_max=MIB), CLOCK)
    for seed in range(10, 14):
        await node.store.write([sample_bundle(seed, lengths=(300_000,))])

    assert scan_extent(extent_path(tmp_path / "extents", 1)).is_sealed
    assert await is_held(node.store, 1)
    assert await node.store.find(sample_bundle(3, lengths=(10,)).bundle_id) is not None
    assert await node.store.find(sample_bundle(2, lengths=(90_000,)).bundle_id) is None
    await node.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
async def test_a_disk_that_fails_or_turns_read_only_fences_the_node(
    tmp_path: Path, code: int
) -> None:
    disk = FaultyDisk()
    async with node_at(tmp_path, disk) as node:
        disk.write_error = code
        with pytest.raises(NodeFenced):
            await node.store.write([sample_bundle(1)])
        assert node.fence.reason is not None


async def test_a_disk_that_cannot_even_cut_back_fences_the_node(tmp_path: Path) -> None:
    disk = FaultyDisk()
    async with node_at(tmp_path, disk) as node:
        disk.write_error, disk.truncate_error = errno.ENOSPC, errno.EIO
        with pytest.raises(NodeFenced):
            await node.store.write([sample_bundle(1)])


async def test_a_disk_that_does_not_answer_fences_the_node_in_time(tmp_path: Path) -> None:
    disk = FaultyDisk()
    node = await open_node(settings_for(tmp_path, disk_deadline_s=0.2), CLOCK, disk=disk)
    disk.hang = threading.Event()
    started_s = CLOCK.monotonic_s()
    with pytest.raises(NodeFenced):
        await node.store.write([sample_bundle(1)])
    assert CLOCK.monotonic_s() - started_s < 5
    assert node.fence.disk_failed.is_set()

    syncs = disk.sync_count
    disk.hang.set()
    async with asyncio.timeout(10):
        while disk.sync_count == syncs:
            await asyncio.sleep(0.01)
    assert not await is_held(node.store, 1), "a confirmation that comes too late is not believed"
    crash(node)


async def test_a_store_that_closes_waits_for_what_is_being_written(tmp_path: Path) -> None:
    """A file that is closed under its writer may be another file by the next write."""
    disk = FaultyDisk()
    node = await open_node(settings_for(tmp_path), CLOCK, disk=disk)
    disk.hang = threading.Event()
    writing = asyncio.create_task(node.store.write([sample_bundle(1)]))
    async with asyncio.timeout(10):
        while not disk.is_hanging:
            await asyncio.sleep(0.001)
    closing = asyncio.create_task(node.store.close())
    await asyncio.wait({closing}, timeout=0.05)
    disk.hang.set()
    await writing
    await closing
    with pytest.raises(NodeFenced):
        await node.store.write([sample_bundle(2)])
    node.threads.close()
    node.dataset.release()

    assert not (tmp_path / "index.distrusted").exists()
    await _reopened_holds(tmp_path, {1: True, 2: False})


def test_an_extent_that_was_closed_writes_into_no_other_file(tmp_path: Path) -> None:
    header = ExtentHeader(number=1, node_id=NodeId(str(uuid.UUID(int=1))), epoch=1, created_us=0)
    extent = ExtentFile.create(tmp_path, header, OsDisk())
    number = extent.fd
    extent.close()
    fd = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    assert fd == number, "the number is used again at once"
    with pytest.raises((OSError, DiskFailed)):
        extent.append([b"a bundle"])
    os.close(fd)

    assert (tmp_path / "other").stat().st_size == 0


async def test_an_extent_is_never_made_over_one_that_has_records(tmp_path: Path) -> None:
    """One that was missing at the start came back, or another process writes here."""
    async with node_at(tmp_path, extent_bytes_max=MIB) as node:
        for seed in range(3):
            await node.store.write([sample_bundle(seed, lengths=(300_000,))])
        other = extent_path(tmp_path / "extents", 2)
        content = newest_extent(tmp_path).read_bytes()
        other.write_bytes(content)
        with pytest.raises(NodeFenced):
            await node.store.write([sample_bundle(3, lengths=(300_000,))])

        assert other.read_bytes() == content


async def test_an_extent_that_was_made_and_never_used_is_made_again(tmp_path: Path) -> None:
    """Making it failed after it had its name: the disk was full."""
    async with node_at(tmp_path, extent_bytes_max=MIB) as node:
        for seed in range(3):
            await node.store.write([sample_bundle(seed, lengths=(300_000,))])
        header = newest_extent(tmp_path).read_bytes()[:HEADER_SIZE_BYTES]
        extent_path(tmp_path / "extents", 2).write_bytes(header)
        await node.store.write([sample_bundle(3, lengths=(300_000,))])

        assert node.fence.reason is None


async def test_extents_are_sealed_and_continued(tmp_path: Path) -> None:
    async with node_at(tmp_path, extent_bytes_max=MIB) as node:
        for seed in range(8):
            await node.store.write([sample_bundle(seed, lengths=(300_000,))])
    numbers = extent_numbers(tmp_path / "extents")
    assert len(numbers) == 3
    assert [scan_extent(extent_path(tmp_path / "extents", n)).is_sealed for n in numbers] == [
        True,
        True,
        False,
    ]
    async with node_at(tmp_path) as node:
        items = await node.store.inventory(None, 100)
        assert len(items) == 8


async def test_a_lost_index_is_made_anew_from_the_extents(tmp_path: Path) -> None:
    async with node_at(tmp_path, extent_bytes_max=MIB) as node:
        for seed in range(5):
            await node.store.write([sample_bundle(seed, lengths=(300_000,))])
        before = await node.store.inventory(None, 100)
        epoch = node.epoch
    delete_database(tmp_path / INDEX_FILE)
    async with node_at(tmp_path) as node:
        assert await node.store.inventory(None, 100) == before
        assert node.epoch == epoch + 1


async def test_what_was_synced_is_found_although_the_index_never_heard_of_it(
    tmp_path: Path,
) -> None:
    node = await open_node(settings_for(tmp_path), CLOCK)
    await node.store.write([sample_bundle(1), sample_bundle(2)])
    crash(node)

    await _reopened_holds(tmp_path, {1: True, 2: True})


async def test_a_torn_tail_is_cut_and_appended_over(tmp_path: Path) -> None:
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(1)])
    path = newest_extent(tmp_path)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(sample_bundle(2).data[:2_000])
    async with node_at(tmp_path) as node:
        assert path.stat().st_size == size
        assert not await is_held(node.store, 2)
        await node.store.write([sample_bundle(3)])
    await _reopened_holds(tmp_path, {1: True, 2: False, 3: True})


async def test_an_extent_with_records_behind_damage_keeps_its_bytes_and_grows_no_more(
    tmp_path: Path,
) -> None:
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(1)])
    path = newest_extent(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(96) + sample_bundle(2).data[96:] + sample_bundle(3).data)
    size = path.stat().st_size
    for _ in range(2):
        async with node_at(tmp_path) as node:
            assert await is_held(node.store, 1)
            await node.store.write([sample_bundle(4)])
    assert path.stat().st_size == size
    assert extent_numbers(tmp_path / "extents") == [1, 2]
    await _reopened_holds(tmp_path, {1: True, 4: True})


async def test_an_extent_with_records_behind_damage_grows_no_more_after_a_start_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its successor was made, it is still the newest one at the next start.

    What is appended behind the damage is found by the index only, and lost with it.
    """
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(1)])
    path = newest_extent(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(96) + sample_bundle(2).data[96:] + sample_bundle(3).data)
    size = path.stat().st_size

    def cut_off(*_: object) -> None:
        raise OSError(errno.EIO, "cut off")

    with monkeypatch.context() as killed:
        killed.setattr(ExtentFile, "create", cut_off)
        with pytest.raises(Invalid, match="cut off"):
            await open_node(settings_for(tmp_path), CLOCK)
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(4)])
    delete_database(tmp_path / INDEX_FILE)

    assert path.stat().st_size == size
    await _reopened_holds(tmp_path, {1: True, 4: True})


async def test_a_sector_that_cannot_be_read_stops_no_start_and_is_read_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One block of one extent; everything else is there. Nothing is cut off, nothing forgotten."""
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(1)])
        await node.store.write([sample_bundle(2)])
    path = newest_extent(tmp_path)
    size = path.stat().st_size
    delete_database(tmp_path / INDEX_FILE)
    real, bad = os.pread, size - 300

    def pread(fd: int, length: int, offset: int) -> bytes:
        if offset <= bad < offset + length and os.fstat(fd).st_size == size:
            raise OSError(errno.EIO, "unreadable")
        return real(fd, length, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        for _ in range(2):
            async with node_at(tmp_path) as node:
                assert await is_held(node.store, 1)
                assert not await is_held(node.store, 2)
                await node.store.write([sample_bundle(3)])
    assert path.stat().st_size == size
    assert extent_numbers(tmp_path / "extents") == [1, 2]

    await _reopened_holds(tmp_path, {1: True, 2: True, 3: True})


async def test_an_extent_that_vanished_takes_its_bundles_out_of_the_inventory(
    tmp_path: Path,
) -> None:
    async with node_at(tmp_path, extent_bytes_max=MIB) as node:
        for seed in range(5):
            await node.store.write([sample_bundle(seed, lengths=(300_000,))])
    extent_path(tmp_path / "extents", 1).unlink()
    async with node_at(tmp_path) as node:
        ids = {item.bundle_id for item in await node.store.inventory(None, 100)}
        assert ids == {sample_bundle(seed, lengths=(300_000,)).bundle_id for seed in (3, 4)}


async def test_an_extent_that_lost_its_confirmed_end_is_looked_at_again(tmp_path: Path) -> None:
    """A disk that lied, or a dataset that was rolled back: what is left counts, and no more."""
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(1), sample_bundle(2)])
    path = newest_extent(tmp_path)
    os.truncate(path, path.stat().st_size - 10)

    await _reopened_holds(tmp_path, {1: True, 2: False})


async def test_another_nodes_extent_is_refused(tmp_path: Path) -> None:
    async with node_at(tmp_path / "other") as other:
        await other.store.write([sample_bundle(1)])
    async with node_at(tmp_path / "mine"):
        pass
    source = newest_extent(tmp_path / "other")
    target = extent_path(tmp_path / "mine" / "extents", 9)
    target.write_bytes(source.read_bytes())
    with pytest.raises(Invalid, match="belongs to node"):
        await open_node(settings_for(tmp_path / "mine"), CLOCK)


async def test_an_epoch_that_went_backwards_fences_until_the_inventory_was_read(
    tmp_path: Path,
) -> None:
    for _ in range(3):
        async with node_at(tmp_path) as node:
            epoch = node.epoch
    (tmp_path / "epoch").write_text("1\n")
    async with node_at(tmp_path) as node:
        assert node.epoch == epoch + 1
        with pytest.raises(NodeFenced):
            await node.store.write([sample_bundle(1)])
    async with node_at(tmp_path) as node:
        assert node.fence.reason is not None, "a restart brings no bundle back"
        await node.fence.inventory_was_read()
        await node.store.write([sample_bundle(1)])
    async with node_at(tmp_path) as node:
        assert node.fence.reason is None


async def test_a_start_that_failed_half_way_does_not_forget_that_the_epoch_went_backwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery begins anew when the index is damaged; the epoch was counted up by then."""
    for _ in range(3):
        async with node_at(tmp_path):
            pass
    (tmp_path / "epoch").write_text("1\n")
    real, calls = IndexDatabase.rows_of, []

    def damaged_once(database: IndexDatabase, extent: int) -> list[ExtentRow]:
        calls.append(extent)
        if len(calls) == 1:
            raise IndexUnusable("a test says so")
        return real(database, extent)

    monkeypatch.setattr(IndexDatabase, "rows_of", damaged_once)
    async with node_at(tmp_path) as node:
        assert len(calls) == 2
        assert node.fence.reason is not None


async def test_a_bit_flipped_in_an_extent_is_noticed_by_whoever_reads(tmp_path: Path) -> None:
    """The chunk fails its CRC; its neighbours in the bundle are still served."""
    bundle = sample_bundle(1, lengths=(500, 600))
    async with node_at(tmp_path) as node:
        await node.store.write([bundle])
    _flip(newest_extent(tmp_path), HEADER_SIZE_BYTES + 96 + 500 + 10)
    async with node_at(tmp_path) as node:
        stored = await node.store.open(bundle.bundle_id)
        first, second = stored.view.chunk(0), stored.view.chunk(1)
        stored.view.verify_blocks(first, 0, await stored.read(first.offset, first.length))
        with pytest.raises(ChunkCorrupt):
            stored.view.verify_blocks(second, 0, await stored.read(second.offset, second.length))


@pytest.mark.parametrize("at", [10, -600])
async def test_a_bit_flipped_in_a_header_or_table_makes_the_bundle_unreadable_not_wrong(
    tmp_path: Path, at: int
) -> None:
    bundle = sample_bundle(1)
    meta_length = bundle.view.header.meta_length
    async with node_at(tmp_path) as node:
        await node.store.write([bundle])
    path = newest_extent(tmp_path)
    end = path.stat().st_size
    _flip(path, HEADER_SIZE_BYTES + at if at > 0 else end - meta_length - 20)
    async with node_at(tmp_path) as node:
        with pytest.raises(BundleCorrupt):
            await node.store.open(bundle.bundle_id)


async def test_a_damaged_index_ends_the_process_and_the_next_one_makes_it_anew(
    tmp_path: Path,
) -> None:
    async with node_at(tmp_path) as node:
        await node.store.write([sample_bundle(1)])
    node = await open_node(settings_for(tmp_path), CLOCK)
    node.store._database._writer.execute("UPDATE bundles SET offset = offset + 1")
    with pytest.raises(NodeFenced):
        await node.store.open(sample_bundle(1).bundle_id)
    assert node.fence.disk_failed.is_set()
    crash(node)

    await _reopened_holds(tmp_path, {1: True})
    assert not (tmp_path / "index.distrusted").exists()


async def test_reads_go_on_while_the_files_kept_open_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is closed while it is read would give another file's bytes."""
    monkeypatch.setattr("fileflux.storage_node.readers.OPEN_FILES_MAX", 1)
    monkeypatch.setattr("fileflux.storage_node.readers.INLINE_BYTES_MAX", 0)
    async with node_at(tmp_path, extent_bytes_max=MIB, index_cache_bytes=0) as node:
        bundles = [sample_bundle(seed, lengths=(300_000,)) for seed in range(9)]
        for bundle in bundles:
            await node.store.write([bundle])

        async def read(bundle_id: BundleId) -> bytes:
            stored = await node.store.open(bundle_id)
            return bytes(await stored.read(0, stored.view.header.size))

        for _ in range(5):
            raws = await asyncio.gather(*(read(bundle.bundle_id) for bundle in bundles))
            assert raws == [bytes(bundle.data) for bundle in bundles]


async def test_the_index_follows_by_itself(tmp_path: Path) -> None:
    async with node_at(tmp_path) as node:
        checkpoints = asyncio.create_task(node.store.run_checkpoints())
        await node.store.write([sample_bundle(1)])
        async with asyncio.timeout(10):
            while node.store._database.find(sample_bundle(1).bundle_id) is None:
                await asyncio.sleep(0.05)
        checkpoints.cancel()
        assert await is_held(node.store, 1)


def _flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
