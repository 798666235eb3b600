"""A node says of itself what is true, and the exporter says the same to Prometheus."""

import asyncio
import socket
import urllib.request
from pathlib import Path

import pytest

from fileflux.core.clock import ManualClock, SystemClock
from fileflux.core.errors import Invalid
from fileflux.core.ids import NodeId
from fileflux.core.model import GIB
from fileflux.events.codec import decode_events
from fileflux.events.memory import MemoryBroker
from fileflux.events.schema import NodeHeartbeat
from fileflux.events.topics import NODES_HEARTBEATS
from fileflux.storage_node.disk_threads import DiskThreads
from fileflux.storage_node.exporter import start_exporter
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.heartbeat import Heartbeats, NodeFacts, PoolWatch
from fileflux.storage_node.pool import DirectoryBackend, FilesystemFigures, PoolFigures

NODE = NodeId("6f2d8a54-95a1-4c39-9a0a-0d3c4c0f7e11")
FIGURES = PoolFigures(
    name="tank",
    size_bytes=1_000,
    allocated_bytes=200,
    free_bytes=800,
    capacity_percent=20,
    fragmentation_percent=3,
    health="DEGRADED",
    filesystems=(
        FilesystemFigures(
            name="tank/fileflux", used_bytes=150, available_bytes=700, referenced_bytes=140
        ),
    ),
)


class Backend:
    def __init__(self) -> None:
        self.answer: PoolFigures | OSError = FIGURES

    async def figures(self) -> PoolFigures:
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


class Beating:
    """Heartbeats over an in-memory broker."""

    def __init__(self, directory: Path) -> None:
        self.fence = Fence()
        self.threads = DiskThreads(self.fence)
        self.backend = Backend()
        self.clock = ManualClock()
        self.pool = PoolWatch(self.backend, self.clock, interval_s=5)
        self.broker = MemoryBroker(clock=SystemClock())
        self.directory = directory
        self.load = 0

    async def start(self, interval_s: float = 1) -> Heartbeats:
        await self.pool.refresh()
        facts = NodeFacts(
            node_id=NODE,
            epoch=3,
            url="http://node:1",
            domain="site/rack/host",
            reserve_bytes=GIB,
            software="0.1.0",
            data_dir=self.directory,
        )
        return Heartbeats(
            facts,
            await self.broker.fast_publisher(),
            pool=self.pool,
            threads=self.threads,
            fence=self.fence,
            load=lambda: self.load,
            clock=self.clock,
            interval_s=interval_s,
        )

    @property
    def heard(self) -> list[NodeHeartbeat]:
        events = [
            event
            for record in self.broker.records(NODES_HEARTBEATS)
            for event in decode_events(record.value)
        ]
        assert all(isinstance(event, NodeHeartbeat) for event in events)
        return events  # type: ignore[return-value]


async def test_a_heartbeat_tells_room_health_epoch_and_load(tmp_path: Path) -> None:
    beating = Beating(tmp_path)
    heartbeats = await beating.start()
    beating.load = 7
    await heartbeats.send()

    (heard,) = beating.heard
    assert (heard.node_id, heard.epoch, heard.load) == (NODE, 3, 7)
    assert (heard.health, heard.read_only) == ("DEGRADED", False)
    assert 0 < heard.free_bytes <= heard.total_bytes
    assert heard.reserve_bytes == GIB
    assert beating.broker.records(NODES_HEARTBEATS)[0].key == NODE.encode()


async def test_a_fenced_node_says_that_it_writes_nothing(tmp_path: Path) -> None:
    beating = Beating(tmp_path)
    heartbeats = await beating.start()
    beating.fence.fail_disk("a test says so")
    await heartbeats.send()

    assert beating.heard[0].read_only


async def test_a_pool_that_does_not_answer_is_reported_and_not_written_to(tmp_path: Path) -> None:
    beating = Beating(tmp_path)
    beating.backend.answer = OSError("no pool")
    heartbeats = await beating.start()
    await heartbeats.send()
    beating.backend.answer = FIGURES
    await beating.pool.refresh()
    await heartbeats.send()

    assert [(h.health, h.read_only) for h in beating.heard] == [
        ("UNAVAIL", True),
        ("DEGRADED", False),
    ]


async def test_a_dataset_that_is_gone_has_no_room(tmp_path: Path) -> None:
    beating = Beating(tmp_path / "gone")
    heartbeats = await beating.start()
    await heartbeats.send()

    assert (beating.heard[0].free_bytes, beating.heard[0].read_only) == (0, True)


async def test_heartbeats_go_on_through_a_broker_that_is_away_and_end_with_a_farewell(
    tmp_path: Path,
) -> None:
    beating = Beating(tmp_path)
    heartbeats = await beating.start(interval_s=0.01)
    beating.broker.stop()
    stopping = asyncio.Event()
    running = asyncio.create_task(heartbeats.run(stopping))
    await asyncio.sleep(0.05)
    assert beating.heard == []
    beating.broker.start()
    async with asyncio.timeout(5):
        while len(beating.heard) < 3:
            await asyncio.sleep(0.01)
    stopping.set()
    await running

    assert not beating.heard[0].read_only
    assert beating.heard[-1].read_only, "placement need not wait for a silence"


async def test_a_directory_is_its_own_pool(tmp_path: Path) -> None:
    figures = await DirectoryBackend(tmp_path).figures()

    assert figures.health == "ONLINE"
    assert 0 < figures.free_bytes <= figures.size_bytes
    assert 0 <= figures.capacity_percent <= 100


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


async def test_the_exporter_tells_the_pools_figures_by_the_known_names(tmp_path: Path) -> None:
    beating = Beating(tmp_path)
    await beating.start()
    server = await start_exporter(beating.pool, "127.0.0.1", 0)
    try:
        text = await asyncio.to_thread(get, server.port)
        beating.backend.answer = OSError("no pool")
        await beating.pool.refresh()
        silent = await asyncio.to_thread(get, server.port)
    finally:
        await server.stop()

    for line in (
        'zfs_pool_size_bytes{pool="tank"} 1000.0',
        'zfs_pool_allocated_bytes{pool="tank"} 200.0',
        'zfs_pool_free_bytes{pool="tank"} 800.0',
        'zfs_pool_fragmentation_percent{pool="tank"} 3.0',
        'zfs_pool_capacity_percent{pool="tank"} 20.0',
        'zfs_pool_health_status{pool="tank"} 1.0',
        'zfs_filesystem_used_bytes{filesystem="tank/fileflux",pool="tank"} 150.0',
        'zfs_filesystem_available_bytes{filesystem="tank/fileflux",pool="tank"} 700.0',
        'zfs_filesystem_refer_bytes{filesystem="tank/fileflux",pool="tank"} 140.0',
    ):
        assert line in text
    assert "tank" not in silent, "old figures are no figures"


async def test_a_second_exporter_on_a_host_takes_the_next_free_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beating = Beating(tmp_path)
    await beating.start()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = await start_exporter(beating.pool, "127.0.0.1", port)
        try:
            assert port < server.port < port + 64
        finally:
            await server.stop()
        monkeypatch.setattr("fileflux.storage_node.exporter.PORTS_TRIED", 1)
        with pytest.raises(Invalid, match="FILEFLUX_NODE_EXPORTER_PORT"):
            await start_exporter(beating.pool, "127.0.0.1", port)


async def test_exporters_that_start_at_the_same_moment_take_different_ports(
    tmp_path: Path,
) -> None:
    """Two bound sockets share a port until one of them listens: a node then ended at its start."""
    beating = Beating(tmp_path)
    await beating.start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers = await asyncio.gather(
        *(start_exporter(beating.pool, "127.0.0.1", port) for _ in range(4))
    )
    try:
        assert len({server.port for server in servers}) == 4
    finally:
        for server in servers:
            await server.stop()
