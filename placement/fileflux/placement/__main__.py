"""The placement process: `python -m fileflux.placement`."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ids import NodeId
from fileflux.core.ops import Check, OpsServer
from fileflux.core.service import announce, run_service
from fileflux.core.settings import load_settings
from fileflux.core.telemetry import get_logger
from fileflux.events.kafka import open_kafka
from fileflux.events.ports import Broker
from fileflux.metadata.postgres import PostgresReader, open_connections
from fileflux.placement.agents import make_app
from fileflux.placement.intents import IntentWatch, MemoryIntents, NodeIntents
from fileflux.placement.leader import Leader
from fileflux.placement.map_view import MapView
from fileflux.placement.settings import PlacementSettings

log = get_logger(__name__)

WATCH_INTERVAL_S: Final = 1.0
FAUST_START_TIMEOUT_S: Final = 60.0
FAUST_STOP_TIMEOUT_S: Final = 10.0
EXIT_STUCK: Final = 1


async def main(stopping: asyncio.Event) -> None:
    """Run until `stopping`. A process that should be restarted ends itself."""
    settings = load_settings(PlacementSettings)
    clock = SystemClock()
    broker = open_kafka(settings, clock)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.close)
        await broker.ensure_topics()
        view = MapView(broker, clock=clock)
        await view.start()
        stack.push_async_callback(view.close)
        intents = _watch_intents(settings, clock)
        await intents.refresh()
        leader = await _make_leader(settings, broker, view=view, intents=intents, clock=clock)
        await _serve(settings, leader, intents, stopping)


def _watch_intents(settings: PlacementSettings, clock: Clock) -> IntentWatch:
    dsn = settings.database_url.get_secret_value()
    source: NodeIntents = DatabaseIntents(dsn) if dsn else MemoryIntents()
    return IntentWatch(source, interval_s=settings.intents_interval_s, clock=clock)


class DatabaseIntents:
    """Connects when it is asked, so that placement starts without the database too."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._reader: PostgresReader | None = None

    async def node_intents(self) -> dict[NodeId, tuple[str, float]]:
        if self._reader is None:
            self._reader = PostgresReader(await open_connections(self._dsn, size_max=1))
        return await self._reader.node_intents()


async def _make_leader(
    settings: PlacementSettings,
    broker: Broker,
    *,
    view: MapView,
    intents: IntentWatch,
    clock: Clock,
) -> Leader:
    return Leader(
        name=f"{os.uname().nodename}/{os.getpid()}/{uuid.uuid4().hex[:8]}",
        classes=settings.storage_classes,
        publisher=await broker.safe_publisher(),
        view=view,
        intents=intents,
        clock=clock,
    )


async def _serve(
    settings: PlacementSettings, leader: Leader, intents: IntentWatch, stopping: asyncio.Event
) -> None:
    app = make_app(settings, leader)
    live: Check = _check(leader.problem)
    ops = OpsServer(settings.ops_host, settings.ops_port, {"live": live, "ready": live})
    await ops.start()
    try:
        async with asyncio.timeout(FAUST_START_TIMEOUT_S):
            await app.start()
        announce(settings.ready_file, {"ops": ops.port})
        await _work(app, leader, intents, stopping)
    finally:
        await ops.stop()
        await _stop_faust(app.stop())


async def _work(app: Any, leader: Leader, intents: IntentWatch, stopping: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        owned = [
            tasks.create_task(leader.run(), name="leader"),
            tasks.create_task(intents.run(), name="intents"),
            tasks.create_task(_end_when_stuck(app, leader), name="watch"),
        ]
        await stopping.wait()
        for task in owned:
            task.cancel()


async def _end_when_stuck(app: Any, leader: Leader) -> None:
    """End the process when Faust crashed, or looks well and does nothing: restarting mends it."""
    while True:
        problem = "Faust crashed" if app.should_stop else leader.problem()
        if problem is not None:
            log.error("placement ends itself to be restarted", cause=problem)
            os._exit(EXIT_STUCK)
        await asyncio.sleep(WATCH_INTERVAL_S)


async def _stop_faust(stopping: Awaitable[None]) -> None:
    """Leave the group. Faust's threads would keep the process alive when that hangs."""
    try:
        async with asyncio.timeout(FAUST_STOP_TIMEOUT_S):
            await stopping
    except Exception:
        log.exception("Faust did not stop")
        os._exit(EXIT_STUCK)


def _check(problem: Callable[[], str | None]) -> Check:
    async def check() -> str | None:
        return problem()

    return check


if __name__ == "__main__":
    run_service(main, name="placement")
