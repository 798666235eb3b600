"""The placement process on a real broker and real Faust: maps, take-over, storms, outages."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.model import GIB, SizeClass, StorageClass
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.kafka import KafkaBroker
from fileflux.events.schema import NodeHeartbeat, PlacementDecided
from fileflux.events.topics import NODES_HEARTBEATS, PLACEMENT_MAP
from fileflux.placement.map import PlacementMap
from fileflux.placement.map_view import MapView

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
STANDARD = StorageClass("STANDARD", 3, 2)
SESSION_TIMEOUT_S = 6


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: made-up nodes are nobody else's business."""
    made = KafkaServer(server_dir / "kafka-placement", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


class Worker:
    """One placement process."""

    def __init__(self, server: KafkaServer, directory: Path, name: str) -> None:
        self._ready = directory / f"{name}.json"
        self.log = directory / f"{name}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap_servers,
            "FILEFLUX_PLACEMENT_DATA_DIR": str(directory / name),
            "FILEFLUX_PLACEMENT_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            "FILEFLUX_READY_FILE": str(self._ready),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fileflux.placement"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        await until(self._ready.exists, f"the worker is not ready: {self.log.read_text()}")

    def get(self, path: str) -> int:
        port = orjson.loads(self._ready.read_bytes())["ports"]["ops"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)

    def end(self, number: int = signal.SIGTERM, *, timeout_s: float = 20) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        return self.process.wait(timeout_s)


class Nodes:
    """Made-up nodes that send their heartbeats every half second."""

    def __init__(self, broker: KafkaBroker) -> None:
        self.speaking: set[str] = set()
        self._broker = broker

    async def run(self) -> None:
        publisher = await self._broker.fast_publisher()
        while True:
            for name in sorted(self.speaking):
                with suppress(BrokerUnavailable):
                    value = encode_events([_heartbeat(name)])
                    await publisher.publish(NODES_HEARTBEATS, value, partition=0)
            await asyncio.sleep(0.5)


def _heartbeat(name: str) -> NodeHeartbeat:
    return NodeHeartbeat(
        node_id=NodeId(name),
        epoch=1,
        at_us=SystemClock().now_us(),
        url=f"http://{name}",
        domain=f"site/rack-{name}",
        total_bytes=1_000 * GIB,
        free_bytes=500 * GIB,
        reserve_bytes=GIB,
        health="ONLINE",
        read_only=False,
        load=0,
        software="test",
    )


class World:
    """A broker, nodes, a reader of the map, and the workers of one group."""

    def __init__(self, server: KafkaServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.broker = KafkaBroker(server.bootstrap_servers, lanes=4, slots=8, clock=SystemClock())
        self.view = MapView(self.broker, clock=SystemClock())
        self.nodes = Nodes(self.broker)
        self.workers: list[Worker] = []

    def start_worker(self) -> Worker:
        made = Worker(self.server, self.directory, f"worker-{len(self.workers)}")
        self.workers.append(made)
        return made

    @property
    def map(self) -> PlacementMap:
        return self.view.current

    def states(self) -> dict[str, str]:
        return {node.node_id: node.state for node in self.map.nodes}

    async def until_states(self, states: dict[str, str], *, timeout_s: float = 60) -> float:
        """Wait for the map to say this; return how long that took."""
        started_s = time.monotonic()
        await until(
            lambda: states.items() <= self.states().items(),
            lambda: f"the map says {self.states()}, not {states}\n{self.logs()}",
            timeout_s=timeout_s,
        )
        return time.monotonic() - started_s

    async def epochs(self) -> list[int]:
        source = await self.broker.source([(PLACEMENT_MAP, 0)])
        _, end = await source.bounds(PLACEMENT_MAP, 0)
        epochs: list[int] = []
        while len(epochs) < end:
            for record in await source.fetch():
                (event,) = decode_events(record.value)
                assert isinstance(event, PlacementDecided)
                epochs.append(event.epoch)
        await source.close()
        return epochs

    def logs(self) -> str:
        return "\n".join(worker.log.read_text()[-3_000:] for worker in self.workers)


async def until(
    condition: Callable[[], bool], message: str | Callable[[], str], *, timeout_s: float = 60
) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            pytest.fail(message if isinstance(message, str) else message())
        await asyncio.sleep(0.05)


@pytest.fixture
async def world(server: KafkaServer, tmp_path: Path) -> AsyncIterator[World]:
    await asyncio.to_thread(server.start)
    made = World(server, tmp_path)
    await made.broker.ensure_topics()
    await made.view.start()
    speaking = asyncio.create_task(made.nodes.run())
    yield made
    for worker in made.workers:
        worker.end(signal.SIGKILL)
    speaking.cancel()
    await asyncio.wait({speaking})
    await made.view.close()
    await made.broker.close()


async def test_heartbeats_become_a_map_and_a_silent_node_leaves_it(world: World) -> None:
    worker = world.start_worker()
    world.nodes.speaking = {"a0", "a1", "a2", "a3"}
    await world.until_states(dict.fromkeys(world.nodes.speaking, "alive"))
    await worker.ready()
    assert worker.get("/health/live") == 200
    world.nodes.speaking -= {"a3"}

    took_s = await world.until_states({"a0": "alive", "a3": "suspect"}, timeout_s=20)

    assert took_s < 10
    for number in range(50):
        choice = world.view.choose(BundleId(bytes([number] * 16)), 0, STANDARD, SizeClass.SMALL)
        assert choice is not None
        assert set(choice.nodes) == {"a0", "a1", "a2"}


async def test_a_worker_that_is_told_to_stop_ends_well_and_leaves_the_group(world: World) -> None:
    world.nodes.speaking = {"b0", "b1", "b2"}
    first = world.start_worker()
    await world.until_states(dict.fromkeys(world.nodes.speaking, "alive"))
    second = world.start_worker()
    await second.ready()

    assert await asyncio.to_thread(first.end) == 0
    world.nodes.speaking |= {"b3"}
    await world.until_states({"b3": "alive"})


async def test_a_second_worker_takes_over_when_the_first_is_killed(world: World) -> None:
    world.nodes.speaking = {"c0", "c1", "c2"}
    first = world.start_worker()
    await world.until_states(dict.fromkeys(world.nodes.speaking, "alive"))
    second = world.start_worker()
    await second.ready()
    epoch = world.map.epoch

    first.end(signal.SIGKILL)
    world.nodes.speaking |= {"c3"}
    took_s = await world.until_states({"c0": "alive", "c3": "alive"})

    assert took_s < SESSION_TIMEOUT_S + 20
    assert world.map.epoch > epoch
    assert second.process.poll() is None


async def test_a_frozen_leader_is_replaced_and_harmless_when_it_wakes(world: World) -> None:
    """A blocked event loop for longer than the session is an eviction."""
    world.nodes.speaking = {"d0", "d1", "d2"}
    first = world.start_worker()
    await world.until_states(dict.fromkeys(world.nodes.speaking, "alive"))
    second = world.start_worker()
    await second.ready()

    first.process.send_signal(signal.SIGSTOP)
    world.nodes.speaking |= {"d3"}
    await world.until_states({"d3": "alive"})
    first.process.send_signal(signal.SIGCONT)
    world.nodes.speaking |= {"d4"}
    await world.until_states({"d4": "alive"})
    epochs = await world.epochs()

    assert world.map.epoch == max(epochs)


async def test_a_storm_of_rebalances_leaves_one_leader_that_leads(world: World) -> None:
    """Faust's rebalance listener broke before: the pin is tested, not trusted."""
    world.nodes.speaking = {"e0", "e1", "e2"}
    for round_number in range(6):
        started = world.start_worker()
        if round_number % 3 != 2:
            await started.ready()
        if len(world.workers) > 2:
            oldest = world.workers[-3]
            number = signal.SIGKILL if round_number % 2 else signal.SIGTERM
            await asyncio.to_thread(oldest.end, number)
    await world.workers[-1].ready()
    world.nodes.speaking |= {"e3"}

    await world.until_states({"e0": "alive", "e3": "alive"})
    still_running = [worker for worker in world.workers if worker.process.poll() is None]
    assert len(still_running) == 2
    assert all(worker.get("/health/live") == 200 for worker in still_running)
    epochs = await world.epochs()
    assert world.map.epoch == max(epochs)


async def test_placement_goes_on_after_the_broker_was_killed(world: World) -> None:
    """A process that looks well and does nothing ends itself; its supervisor starts it again."""
    world.nodes.speaking = {"f0", "f1", "f2"}
    world.start_worker()
    await world.until_states(dict.fromkeys(world.nodes.speaking, "alive"))

    world.server.kill()
    await asyncio.sleep(3)  # The outage itself: nothing to wait for.
    await asyncio.to_thread(world.server.start)
    world.nodes.speaking |= {"f3"}
    supervisor = asyncio.create_task(_supervise(world))
    took_s = await world.until_states({"f0": "alive", "f3": "alive"}, timeout_s=120)
    supervisor.cancel()

    assert took_s < 90


async def _supervise(world: World) -> None:
    while True:
        if world.workers[-1].process.poll() is not None:
            world.start_worker()
        await asyncio.sleep(0.5)
