"""One schedule from its seed: a world, clients, chaos, heal, and the oracle's judgement."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from tests.simulation.clients import Clients
from tests.simulation.loop import SeededLoop, SimulationStuck, run_seeded
from tests.simulation.oracle import is_settled, judge, staged_bundles
from tests.simulation.plan import Plan, plan_of
from tests.simulation.process import ConnectionLost, Killed
from tests.simulation.world import World

import fileflux.ingest.bundler
import fileflux.ingest.chunker
from fileflux.core import failpoints
from fileflux.core.errors import FileFluxError
from fileflux.core.model import KIB

BOOT_S: Final = 30.0
T_REC_S: Final = 100.0
"""After the heal every call has its answer: settle (30 s), abort (15 s), a hung connection."""
T_WORKS_S: Final = 40.0
"""After that a new upload succeeds: restarts, a lane's take-over, the map's next repeat."""
T_AUDIT_S: Final = 30.0
T_STAGE_S: Final = 200.0
"""The staging of the dead is empty when their seals cannot settle any more."""
SMALL_BYTES_MAX: Final = 4 * KIB
CHUNK_BYTES: Final = 8 * KIB
"""Borders in the simulation: uploads of many chunks without many bytes."""


@dataclass(slots=True)
class Report:
    """What one schedule did and found. `faults`: empty when all is well."""

    seed: int
    faults: list[str] = field(default_factory=list)
    trace: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    real_s: float = 0.0
    strikes: int = 0
    coverage: set[str] = field(default_factory=set)
    failpoints: set[str] = field(default_factory=set)
    operations: dict[str, int] = field(default_factory=dict)


def run_seed(seed: int, plan: Plan | None = None) -> Report:
    """Run one schedule. The same seed gives the same trace where PYTHONHASHSEED is the same."""
    report = Report(seed)
    started_s = time.perf_counter()
    plan = plan or plan_of(seed)
    worlds: list[tuple[World, Clients]] = []

    async def main(loop: SeededLoop) -> None:
        world = World(plan, loop)
        clients = Clients(world)
        worlds.append((world, clients))
        loop.set_exception_handler(lambda _, context: _note_exception(world, context))
        with _failpoints(world):
            await _live(world, clients)
        report.trace, report.steps = loop.trace, loop.steps
        report.virtual_s = loop.time()

    gc.collect()  # Tasks of former runs have the same hashes as ours, and asyncio's set holds them.
    gc.disable()
    try:
        with small_borders(), _error_logs(report.faults):
            run_seeded(seed, main)
    except SimulationStuck as error:
        report.faults.append(f"stuck: {error}")
    finally:
        gc.enable()
    for world, clients in worlds:
        report.faults += world.problems
        report.coverage, report.failpoints = world.coverage, world.failpoints
        report.strikes = world.strikes
        report.operations = clients.history.counts()
    report.real_s = time.perf_counter() - started_s
    return report


async def _live(world: World, clients: Clients) -> None:
    """Boot, hurt, heal, settle, judge."""
    plan = world.plan
    world.start()
    if not await world.until(lambda: all(s.is_ready for s in world.services), within_s=BOOT_S):
        waiting = [s.name for s in world.services if not s.is_ready]
        world.problem(f"not ready {BOOT_S:.0f} s after the start: {waiting}")
        return
    await clients.prepare()
    chaos = asyncio.create_task(world.chaos.run())
    living = [asyncio.create_task(clients.live(number)) for number in range(plan.clients)]
    await asyncio.sleep(plan.chaos_s)
    clients.is_over = True
    chaos.cancel()
    await asyncio.gather(chaos, return_exceptions=True)
    await world.chaos.heal()
    if not await world.until(lambda: clients.running == 0, within_s=T_REC_S):
        world.problem(f"{clients.running} clients wait {T_REC_S:.0f} s after the heal")
    for one in living:
        if one.done() and one.exception() is not None:
            raise one.exception()  # type: ignore[misc]
    await _judge(world, clients)
    world.end()


async def _judge(world: World, clients: Clients) -> None:
    deadline_s = world.loop.time() + T_WORKS_S
    while not await clients.put_after_heal():
        if world.loop.time() > deadline_s:
            world.problem(f"no upload succeeds {T_WORKS_S:.0f} s after the heal")
            break
        await asyncio.sleep(1)
    await clients.read_all(within_s=20)
    for node in world.nodes:  # Once more, and nothing that was promised may be gone.
        node.process.kill()
    await world.until(lambda: all(n.is_ready and n.answers for n in world.nodes), within_s=BOOT_S)
    await clients.read_all(within_s=20)
    if not await world.until(lambda: is_settled(world), within_s=T_AUDIT_S):
        world.problem(f"the audit stream lags {T_AUDIT_S:.0f} s after the heal")
    if world.plan.checks_staging and not await world.until(
        lambda: staged_bundles(world) == 0, within_s=T_STAGE_S
    ):
        world.problem(f"{staged_bundles(world)} staged bundles are left after {T_STAGE_S:.0f} s")
    if not await world.until(lambda: all(s.is_ready for s in world.services), within_s=BOOT_S):
        dead = [s.name for s in world.services if not s.is_ready]
        world.problem(f"not ready {BOOT_S:.0f} s after the heal: {dead}")
    world.problems += judge(world, clients)


@contextmanager
def small_borders() -> Iterator[None]:
    """Small objects and chunks are smaller in here."""
    bundler: Any = fileflux.ingest.bundler
    cut: Any = fileflux.ingest.chunker.cut_at_borders
    parts: Any = _module_with("PART_SIZE_BYTES_MIN")
    before = (bundler.SMALL_OBJECT_BYTES_MAX, cut.__defaults__, parts.PART_SIZE_BYTES_MIN)
    bundler.SMALL_OBJECT_BYTES_MAX = SMALL_BYTES_MAX
    cut.__defaults__ = (CHUNK_BYTES,)
    parts.PART_SIZE_BYTES_MIN = 1
    try:
        yield
    finally:
        bundler.SMALL_OBJECT_BYTES_MAX = before[0]
        cut.__defaults__ = before[1]
        parts.PART_SIZE_BYTES_MIN = before[2]


def _module_with(name: str) -> Any:
    """Return the one module of the decisions that has this constant."""
    (found,) = (
        module
        for path, module in sys.modules.items()
        if path.startswith("fileflux.metadata.apply") and hasattr(module, name)
    )
    return found


class _Failpoints:
    enabled = True

    def __init__(self, world: World) -> None:
        self.hit = world.chaos.hit


@contextmanager
def _failpoints(world: World) -> Iterator[None]:
    module: Any = failpoints
    before = module._failpoints
    module._failpoints = _Failpoints(world)
    try:
        yield
    finally:
        module._failpoints = before


def _note_exception(world: World, context: dict[str, Any]) -> None:
    """What a dead process was about to hear is no fault; any other lost exception is one."""
    error = context.get("exception")
    is_passing = isinstance(error, FileFluxError) and error.retriable
    if not is_passing and not isinstance(error, Killed | ConnectionLost | GeneratorExit):
        world.problem(f"{context.get('message')}: {error!r}")


_sink: list[str] = []


def _note_error(_logger: Any, method: str, entry: Any) -> Any:
    if len(_sink) < 20:
        names = {"event", "exc_info", "level"}
        more = {k: v for k, v in entry.items() if k not in names}
        error = sys.exc_info()[1] if entry.get("exc_info") is True else entry.get("exc_info")
        _sink.append(f"{method} log: {entry.get('event')} {more or ''} {error or ''!r}")
    raise structlog.DropEvent


@contextmanager
def _error_logs(found: list[str]) -> Iterator[None]:
    """An ERROR means that a human must act: nobody sent anything that should need one."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[_note_error],
            wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
            cache_logger_on_first_use=True,
        )
    _sink.clear()
    yield
    found += _sink
