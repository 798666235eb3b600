"""A storage node as a real process, on a real broker, with a staging that the test holds."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn

from fileflux.core.bundle_view import check_bundle, memory_reader
from fileflux.core.clock import SystemClock
from fileflux.core.errors import FileFluxError
from fileflux.core.ids import NodeId, slot_of
from fileflux.core.node_client import NodeClient
from fileflux.core.ops import EmbeddedServer
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.kafka import KafkaBroker
from fileflux.events.ports import EventPublisher, EventSource
from fileflux.events.schema import BundleAssigned, BundleCommitted, BundleRefused
from fileflux.events.topics import BUNDLES_ASSIGNED, BUNDLES_COMMITTED
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.samples import sample_assignment

SECRET: Final = "a secret of the cluster"
LANE: Final = 1
SLOTS: Final = 8
START_S: Final = 30
CLOCK: Final = SystemClock()


class NodeProcess:
    """`python -m fileflux.storage_node` on one data directory, started again and again."""

    def __init__(self, directory: Path, bootstrap: str, **env: str) -> None:
        self.data_dir = directory / "data"
        self.ready_path = directory / "ready.json"
        self.failpoints = directory / "failpoints"
        self.log_path = directory / "log"
        self.file_bytes_max: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._env = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "FILEFLUX_CLUSTER_SECRET": SECRET,
            "FILEFLUX_NODE_DATA_DIR": str(self.data_dir),
            "FILEFLUX_NODE_RESERVE_BYTES": "0",
            "FILEFLUX_NODE_EXPORTER_PORT": "0",
            "FILEFLUX_READY_FILE": str(self.ready_path),
            "FILEFLUX_FAILPOINTS_FILE": str(self.failpoints),
            **env,
        }

    async def start(self) -> None:
        self.ready_path.unlink(missing_ok=True)
        self._launch()
        await until(lambda: self.ready_path.exists() or self.has_ended, START_S)
        assert self.ready_path.exists(), self.log_path.read_text()[-3_000:]

    def _launch(self) -> None:
        bytes_max = self.file_bytes_max
        limit = [] if bytes_max is None else ["prlimit", f"--fsize={bytes_max}"]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*limit, sys.executable, "-m", "fileflux.storage_node"],
                env=self._env,
                stdout=log,
                stderr=log,
            )

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    @property
    def exit_status(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads(self.ready_path.read_text())["ports"]
        return ports

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['node']}"

    @property
    def node_id(self) -> NodeId:
        return NodeId((self.data_dir / "node-id").read_text().strip())

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, deadline_s: float = 20) -> int:
        await until(lambda: self.has_ended, deadline_s)
        assert self._process is not None
        return self._process.wait()

    async def kill(self) -> None:
        if not self.has_ended:
            self.send_signal(signal.SIGKILL)
            await self.ended()

    def arm(self, text: str) -> None:
        self.failpoints.write_text(text)


class Cluster:
    """What surrounds the node: the broker, the staging, and a reader."""

    def __init__(self, broker: KafkaBroker, publisher: EventPublisher, source: EventSource) -> None:
        self._broker = broker
        self._publisher = publisher
        self._source = source
        self.staged: dict[str, bytes] = {}
        self.staging_url = ""
        self.client = NodeClient(SECRET.encode(), CLOCK)
        self.answers: list[BundleCommitted | BundleRefused] = []

    async def staging(self, scope: Any, _receive: Any, send: Any) -> None:
        body = self.staged.get(scope["path"].rpartition("/")[2])
        headers = [(b"content-length", str(len(body or b"")).encode())]
        status = 404 if body is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body or b""})

    def assignment(
        self, bundle: IncomingBundle, node_id: NodeId, *, attempt: int = 0
    ) -> BundleAssigned:
        name = bundle.bundle_id.hex()
        self.staged[name] = bytes(bundle.data)
        return sample_assignment(
            bundle,
            node_id,
            CLOCK,
            lane=LANE,
            attempt=attempt,
            source_url=f"{self.staging_url}/v1/staging/{'0' * 32}/{name}",
        )

    async def assign(
        self, bundles: Sequence[IncomingBundle], node_id: NodeId, *, attempt: int = 0
    ) -> None:
        await self.emit(*(self.assignment(bundle, node_id, attempt=attempt) for bundle in bundles))

    async def emit(self, *events: BundleAssigned) -> None:
        """Publish these to the slot of the first one's node."""
        node_id = events[0].node_id
        await self._publisher.publish(
            BUNDLES_ASSIGNED, encode_events(events), partition=slot_of(node_id, SLOTS)
        )

    async def listen(self) -> None:
        for record in await self._source.fetch(wait_s=0.05):
            self.answers += [
                event
                for event in decode_events(record.value)
                if isinstance(event, (BundleCommitted, BundleRefused))
            ]

    def committed(self, node_id: NodeId) -> set[bytes]:
        return {
            event.bundle_id
            for event in self.answers
            if isinstance(event, BundleCommitted) and event.node_id == node_id
        }

    async def until_committed(
        self, bundles: Sequence[IncomingBundle], node_id: NodeId, deadline_s: float = 20
    ) -> None:
        wanted = {bundle.bundle_id for bundle in bundles}
        async with asyncio.timeout(deadline_s):
            while not wanted <= self.committed(node_id):
                await self.listen()

    async def holds(self, node: NodeProcess, bundle: IncomingBundle) -> bool:
        """Whether the node gives every byte of the bundle as it was sealed."""
        for place in bundle.view.chunks():
            expected = bytes(bundle.data[place.offset : place.offset + place.length])
            try:
                got = await self.client.read_small(
                    node.url, bundle.bundle_id, place.number, 0, place.length
                )
            except FileFluxError:
                return False
            if got != expected:
                return False
        check_bundle(memory_reader(bundle.data))
        return True


async def until(condition: Callable[[], bool], deadline_s: float) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def cluster(kafka_bootstrap: str) -> AsyncIterator[Cluster]:
    broker = KafkaBroker(kafka_bootstrap, lanes=4, slots=SLOTS, clock=CLOCK)
    await broker.ensure_topics()
    source = await broker.source([(BUNDLES_COMMITTED, LANE)])
    await source.seek_to_end(BUNDLES_COMMITTED, LANE)
    made = Cluster(broker, await broker.fast_publisher(), source)
    config = uvicorn.Config(
        made.staging,
        host="127.0.0.1",
        port=0,
        interface="asgi3",
        access_log=False,
        log_config=None,
        lifespan="off",
    )
    server = EmbeddedServer(config)
    await server.start()
    made.staging_url = f"http://127.0.0.1:{server.port}"
    yield made
    await made.client.close()
    await server.stop()
    await broker.close()


@pytest.fixture
async def make_node(
    tmp_path: Path, kafka_bootstrap: str
) -> AsyncIterator[Callable[..., NodeProcess]]:
    made: list[NodeProcess] = []

    def make(name: str = "node", **env: str) -> NodeProcess:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        made.append(NodeProcess(directory, kafka_bootstrap, **env))
        return made[-1]

    yield make
    for node in made:
        await node.kill()
