"""Faust keeps what it was given in some versions: memory must not grow with the heartbeats read."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.core.ids import NodeId
from fileflux.core.model import GIB
from fileflux.events.codec import encode_events
from fileflux.events.kafka import KafkaBroker
from fileflux.events.schema import NodeHeartbeat
from fileflux.events.topics import NODES_HEARTBEATS
from fileflux.placement.map_view import MapView

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WARM_UP, MEASURED = 60_000, 60_000
GROWTH_MIB_MAX = 3.0
"""The goal is less than 1 MiB per 100,000; the allocator's own steps are larger."""


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    made = KafkaServer(server_dir / "kafka-placement-memory", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
async def broker(server: KafkaServer) -> AsyncIterator[KafkaBroker]:
    made = KafkaBroker(server.bootstrap_servers, lanes=4, slots=8, clock=SystemClock())
    await made.ensure_topics()
    yield made
    await made.close()


@pytest.fixture
def worker(server: KafkaServer, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap_servers,
        "FILEFLUX_PLACEMENT_DATA_DIR": str(tmp_path),
        "FILEFLUX_LOG_LEVEL": "WARNING",
    }
    made = subprocess.Popen([sys.executable, "-m", "fileflux.placement"], env=environment)
    yield made
    made.kill()
    made.wait()


def _heartbeat(node: str) -> bytes:
    return encode_events(
        [
            NodeHeartbeat(
                node_id=NodeId(node),
                epoch=1,
                at_us=0,
                url=f"http://{node}",
                domain=node,
                total_bytes=1_000 * GIB,
                free_bytes=500 * GIB,
                reserve_bytes=0,
                health="ONLINE",
                read_only=False,
                load=0,
                software="test",
            )
        ]
    )


async def _pass_through(broker: KafkaBroker, view: MapView, count: int, marker: str) -> None:
    """Send `count` heartbeats and then a new node's; return when the map knows that one."""
    publisher = await broker.fast_publisher()
    for _ in range(count // 1_000):
        run = [(None, _heartbeat(f"n{number % 3}"), ()) for number in range(1_000)]
        await publisher.publish_all(NODES_HEARTBEATS, run, partition=0)
    async with asyncio.timeout(120):
        while view.node_url(NodeId(marker)) is None:
            await publisher.publish(NODES_HEARTBEATS, _heartbeat(marker), partition=0)
            await asyncio.sleep(0.2)


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


async def test_memory_does_not_grow_with_the_heartbeats_read(
    broker: KafkaBroker, worker: "subprocess.Popen[bytes]"
) -> None:
    view = MapView(broker, clock=SystemClock())
    await view.start()
    await _pass_through(broker, view, 0, "started")
    await _pass_through(broker, view, WARM_UP, "warm")
    before_mib = _resident_mib(worker.pid)
    await _pass_through(broker, view, MEASURED, "measured")
    grown_mib = _resident_mib(worker.pid) - before_mib
    await view.close()

    assert grown_mib < GROWTH_MIB_MAX
