"""The storage node process: `python -m fileflux.storage_node`."""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import uvicorn

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ids import slot_of
from fileflux.core.node_client import NodeClient
from fileflux.core.ops import EmbeddedServer, OpsServer, always_well
from fileflux.core.service import announce, run_service
from fileflux.core.settings import load_settings
from fileflux.core.telemetry import get_logger
from fileflux.core.tracing_asgi import traced_app
from fileflux.events.consume import Consumer
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.kafka import open_kafka
from fileflux.events.ports import Broker
from fileflux.events.topics import BUNDLES_ASSIGNED
from fileflux.storage_node.answers import Answers
from fileflux.storage_node.app import NodeApp
from fileflux.storage_node.assignments import Assignments
from fileflux.storage_node.exporter import start_exporter
from fileflux.storage_node.heartbeat import Heartbeats, NodeFacts, PoolWatch
from fileflux.storage_node.opening import OpenNode, open_node
from fileflux.storage_node.pool import DirectoryBackend, PoolBackend
from fileflux.storage_node.positions import seek_to
from fileflux.storage_node.pulls import Pulls
from fileflux.storage_node.settings import NodeSettings
from fileflux.storage_node.zfs import ZfsBackend, check_dataset

log = get_logger(__name__)

DRAIN_DEADLINE_S: Final = 20.0
FENCED_LINGER_S: Final = 3.0
"""A fenced node says so, and lets reads end, before it starts again."""
EXIT_FENCED: Final = 75


async def main(stopping: asyncio.Event) -> None:
    """Run until `stopping`, or until the disk failed: then end the process, to be started again."""
    settings = load_settings(NodeSettings)
    clock = SystemClock()
    backend = _backend(settings)
    if isinstance(backend, ZfsBackend):
        await check_dataset(backend, settings.data_dir)
    async with AsyncExitStack() as stack:
        node = await open_node(settings, clock)
        stack.push_async_callback(node.close)
        broker = open_kafka(settings, clock)
        stack.push_async_callback(broker.close)
        await broker.ensure_topics()
        await _Process(settings, node, broker, clock, stack).run(stopping)


class _Process:
    """The running parts of one node, started in order and stopped in reverse."""

    def __init__(
        self,
        settings: NodeSettings,
        node: OpenNode,
        broker: Broker,
        clock: Clock,
        stack: AsyncExitStack,
    ) -> None:
        self._settings = settings
        self._node = node
        self._fence = node.fence
        self._broker = broker
        self._clock = clock
        self._stack = stack
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, stopping: asyncio.Event) -> None:
        pool = PoolWatch(
            _backend(self._settings), self._clock, interval_s=self._settings.pool_interval_s
        )
        await pool.refresh()
        server = await self._serve()
        exporter = await start_exporter(
            pool, self._settings.exporter_host, self._settings.exporter_port
        )
        self._stack.push_async_callback(exporter.stop)
        assignments = await self._assignments()
        self._start("checkpoints", self._node.store.run_checkpoints())
        self._start("pool", pool.run())
        self._start("assignments", self._consume(assignments, stopping))
        facts = self._facts(server.port)
        self._start("heartbeats", self._beat(facts, pool, assignments, stopping))
        ops = OpsServer(
            self._settings.ops_host,
            self._settings.ops_port,
            {"live": always_well, "ready": self._readiness},
        )
        await ops.start()
        self._stack.push_async_callback(ops.stop)
        ports = {"node": server.port, "exporter": exporter.port, "ops": ops.port}
        announce(self._settings.ready_file, ports)
        log.info("the node serves", node_id=facts.node_id, epoch=facts.epoch, ports=ports)
        await self._until(stopping)
        await self._stop(assignments, stopping)

    async def _serve(self) -> EmbeddedServer:
        secret = self._settings.cluster_secret.get_secret_value().encode()
        app = NodeApp(
            self._node.store,
            secret=secret,
            clock=self._clock,
            epoch=self._node.epoch,
            fence=self._fence,
        )
        config = uvicorn.Config(
            traced_app(app, "serve bundle"),
            host=self._settings.host,
            port=self._settings.port,
            access_log=False,
            log_config=None,
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        server = EmbeddedServer(config)
        await server.start()
        self._stack.push_async_callback(server.stop)
        return server

    async def _assignments(self) -> Assignments:
        secret = self._settings.cluster_secret.get_secret_value().encode()
        client = NodeClient(secret, self._clock)
        self._stack.push_async_callback(client.close)
        answers = Answers(await self._broker.fast_publisher())
        self._stack.push_async_callback(answers.close)
        return Assignments(
            node_id=self._node.node_id,
            node_epoch=self._node.epoch,
            store=self._node.store,
            pulls=Pulls(client),
            answers=answers,
            fence=self._fence,
            clock=self._clock,
        )

    async def _consume(self, assignments: Assignments, stopping: asyncio.Event) -> None:
        slot = slot_of(self._node.node_id, self._settings.slots)
        source = await self._broker.source([(BUNDLES_ASSIGNED, slot)])
        await seek_to(source, BUNDLES_ASSIGNED, slot, self._node.store.position())
        dead_letters = DeadLetters(await self._broker.safe_publisher(), clock=self._clock)
        consumer = Consumer(source, assignments.take, dead_letters=dead_letters, clock=self._clock)
        await consumer.run(stopping)

    async def _beat(
        self, facts: NodeFacts, pool: PoolWatch, assignments: Assignments, stopping: asyncio.Event
    ) -> None:
        heartbeats = Heartbeats(
            facts,
            await self._broker.fast_publisher(),
            pool=pool,
            threads=self._node.threads,
            fence=self._fence,
            load=lambda: assignments.load,
            clock=self._clock,
            interval_s=self._settings.heartbeat_interval_s,
        )
        await heartbeats.run(stopping)

    def _facts(self, port: int) -> NodeFacts:
        settings = self._settings
        return NodeFacts(
            node_id=self._node.node_id,
            epoch=self._node.epoch,
            url=settings.advertised_url or f"http://{settings.host}:{port}",
            domain=settings.domain,
            reserve_bytes=settings.reserve_bytes,
            software=_software(),
            data_dir=settings.data_dir,
        )

    async def _readiness(self) -> str | None:
        reason = self._fence.reason
        return None if reason is None else f"the node writes nothing: {reason}"

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _until(self, stopping: asyncio.Event) -> None:
        """Return when asked to stop; raise what a part died of; end the process when fenced."""
        ends = [asyncio.create_task(stopping.wait(), name="stop")]
        ends.append(asyncio.create_task(self._fence.disk_failed.wait(), name="fence"))
        try:
            await asyncio.wait([*ends, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if self._fence.disk_failed.is_set():
            await asyncio.sleep(FENCED_LINGER_S)
            # A thread that waits for a dead disk would keep an ordinary exit waiting too.
            os._exit(EXIT_FENCED)
        for task in self._tasks:
            if task.done() and not stopping.is_set():
                task.result()
                raise RuntimeError(f"{task.get_name()} ended by itself")

    async def _stop(self, assignments: Assignments, stopping: asyncio.Event) -> None:
        stopping.set()
        await assignments.drain(deadline_s=DRAIN_DEADLINE_S)
        for task in self._tasks:
            if task.get_name() not in ("assignments", "heartbeats"):
                task.cancel()
        await asyncio.wait(self._tasks, timeout=5)


def _backend(settings: NodeSettings) -> PoolBackend:
    if settings.backend == "zfs":
        return ZfsBackend(settings.pool, settings.dataset or settings.pool)
    return DirectoryBackend(settings.data_dir, name=settings.pool or "directory")


def _software() -> str:
    try:
        return version("fileflux")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    run_service(main, name="storage-node")
