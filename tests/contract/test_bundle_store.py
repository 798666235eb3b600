"""One suite for the extents on disk and their in-memory twin."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest

from fileflux.core.bundle_view import check_bundle, memory_reader
from fileflux.core.clock import SystemClock
from fileflux.core.errors import NodeFull, NoSuchBundle
from fileflux.core.ids import BundleId
from fileflux.core.model import GIB, MIB
from fileflux.core.node_messages import DropItem, InventoryItem
from fileflux.storage_node.bundle_store import BundleStore, IncomingBundle
from fileflux.storage_node.extent_store import ExtentStore
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.opening import OpenNode, open_node
from fileflux.storage_node.positions import StoredPosition
from fileflux.storage_node.samples import sample_bundle
from fileflux.storage_node.settings import NodeSettings

CLOCK = SystemClock()


class Subject(Protocol):
    """A store that can be closed and opened again, and be full."""

    @property
    def store(self) -> BundleStore: ...

    async def reopen(self) -> None: ...

    def fill_up(self) -> None: ...


class MemorySubject:
    def __init__(self) -> None:
        self.store: MemoryStore = MemoryStore()

    async def reopen(self) -> None:
        self.store.save_position()
        self.store.power_cut()

    def fill_up(self) -> None:
        self.store.capacity_bytes = 0


class DiskSubject:
    def __init__(self, directory: Path, node: OpenNode) -> None:
        self._directory = directory
        self._node = node
        self.store: ExtentStore = node.store

    async def reopen(self) -> None:
        await self._node.close()
        self._node = await open_node(settings_for(self._directory), CLOCK)
        self.store = self._node.store

    def fill_up(self) -> None:
        self.store._appender.reserve_bytes = 2**62

    async def close(self) -> None:
        await self._node.close()


def settings_for(directory: Path, extent_bytes_max: int = GIB) -> NodeSettings:
    return NodeSettings(
        data_dir=directory,
        cluster_secret="s" * 16,
        reserve_bytes=0,
        ballast_bytes=0,
        extent_bytes_max=extent_bytes_max,
    )


@pytest.fixture(params=["memory", "disk"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    if request.param == "memory":
        yield MemorySubject()
        return
    disk = DiskSubject(tmp_path, await open_node(settings_for(tmp_path), CLOCK))
    yield disk
    await disk.close()


def item_of(bundle: IncomingBundle) -> InventoryItem:
    return InventoryItem(bundle.bundle_id, *bundle.view.header.sealed)


async def read_back(store: BundleStore, bundle_id: BundleId) -> bytes:
    stored = await store.open(bundle_id)
    return bytes(await stored.read(0, stored.view.header.size))


async def test_what_was_written_is_read_as_it_was(subject: Subject) -> None:
    bundles = [sample_bundle(seed) for seed in range(3)]
    await subject.store.write(bundles)

    for bundle in bundles:
        raw = await read_back(subject.store, bundle.bundle_id)
        assert raw == bytes(bundle.data)
        assert check_bundle(memory_reader(raw)).header == bundle.view.header
        assert await subject.store.find(bundle.bundle_id) == item_of(bundle)


async def test_what_was_written_is_there_after_a_restart(subject: Subject) -> None:
    bundle = sample_bundle(1)
    await subject.store.write([bundle])
    await subject.reopen()

    assert await read_back(subject.store, bundle.bundle_id) == bytes(bundle.data)


async def test_writing_a_bundle_again_is_the_same_as_once(subject: Subject) -> None:
    bundle, other = sample_bundle(1), sample_bundle(2)
    await subject.store.write([bundle, bundle])
    await subject.store.write([other, bundle])

    assert len(await subject.store.inventory(None, 10)) == 2
    assert await read_back(subject.store, bundle.bundle_id) == bytes(bundle.data)


async def test_a_bundle_that_was_never_written_is_not_there(subject: Subject) -> None:
    assert await subject.store.find(BundleId(b"n" * 16)) is None
    with pytest.raises(NoSuchBundle):
        await subject.store.open(BundleId(b"n" * 16))


async def test_a_full_node_refuses_and_writes_nothing(subject: Subject) -> None:
    held, refused = sample_bundle(1), sample_bundle(2)
    await subject.store.write([held])
    subject.fill_up()
    with pytest.raises(NodeFull):
        await subject.store.write([refused])

    assert await subject.store.inventory(None, 10) == [item_of(held)]
    assert await read_back(subject.store, held.bundle_id) == bytes(held.data)


async def test_the_inventory_comes_in_pages_by_id(subject: Subject) -> None:
    bundles = [sample_bundle(seed, lengths=(10,)) for seed in range(25)]
    await subject.store.write(bundles)
    found: list[InventoryItem] = []
    while page := await subject.store.inventory(found[-1].bundle_id if found else None, 7):
        assert len(page) <= 7
        found += page

    assert found == sorted((item_of(b) for b in bundles), key=lambda item: item.bundle_id)


async def test_a_bundle_leaves_when_all_its_chunks_are_garbage(subject: Subject) -> None:
    bundle, other = sample_bundle(1, lengths=(10, 20, 30)), sample_bundle(2)
    await subject.store.write([bundle, other])
    await subject.store.drop([DropItem(bundle.bundle_id, (0, 2, 77))])
    await subject.reopen()

    assert await read_back(subject.store, bundle.bundle_id) == bytes(bundle.data)

    await subject.store.drop(
        [DropItem(bundle.bundle_id, (1,)), DropItem(BundleId(b"?" * 16), (0,))]
    )

    assert await subject.store.inventory(None, 10) == [item_of(other)]
    with pytest.raises(NoSuchBundle):
        await subject.store.open(bundle.bundle_id)


async def test_a_dropped_bundle_may_come_back(subject: Subject) -> None:
    """Repair may bring it here again."""
    bundle = sample_bundle(1, lengths=(10,))
    await subject.store.write([bundle])
    await subject.store.drop([DropItem(bundle.bundle_id, (0,))])
    await subject.store.write([bundle])
    await subject.reopen()

    assert await read_back(subject.store, bundle.bundle_id) == bytes(bundle.data)


async def test_the_position_is_kept_through_a_restart(subject: Subject) -> None:
    position = StoredPosition(3, 41, 1_767_225_600_000_000, 77)
    assert subject.store.position() is None
    subject.store.remember(position)
    assert subject.store.position() == position
    await subject.reopen()

    assert subject.store.position() == position


async def test_many_writers_at_once_lose_nothing(subject: Subject) -> None:
    bundles = [sample_bundle(seed, lengths=(seed + 1,)) for seed in range(40)]
    writes: list[Awaitable[None]] = [subject.store.write([bundle]) for bundle in bundles]
    await asyncio.gather(*writes)
    await subject.reopen()

    for bundle in bundles:
        assert await read_back(subject.store, bundle.bundle_id) == bytes(bundle.data)


async def test_the_memory_twin_loses_what_had_not_returned() -> None:
    """The part of the contract that a power cut decides; for disks it is shown by real ones."""
    waiting = asyncio.Event()
    sync: Callable[[], Awaitable[object]] = waiting.wait

    async def slow_sync() -> None:
        await sync()

    store = MemoryStore(sync=slow_sync)
    bundle = sample_bundle(1, lengths=(MIB // 4,))
    write = asyncio.create_task(store.write([bundle]))
    await asyncio.sleep(0)
    store.power_cut()
    waiting.set()
    with pytest.raises(Exception, match="cut off"):
        await write

    assert await store.find(bundle.bundle_id) is None
