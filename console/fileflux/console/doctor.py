"""`fileflux doctor`: what may hurt, and what to do about it, one line a finding."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from fileflux.console.wiring import (
    NoSurroundings,
    Surroundings,
    find_surroundings,
    open_broker,
    open_metadata,
    open_routes,
)
from fileflux.core.clock import SystemClock
from fileflux.core.errors import FileFluxError
from fileflux.core.settings import CommonSettings
from fileflux.events.audit import last_event
from fileflux.events.topics import AUDIT, BUNDLES_COMMITTED, UPLOADS_SEALED
from fileflux.metadata.durability import durability_problems
from fileflux.metadata.sequencer import STREAM

CHECK_TIMEOUT_S: Final = 20.0
SKEW_US_MAX: Final = 1_000_000
FREE_SHARE_MIN: Final = 0.10
LAG_RECORDS_MAX: Final = 1_000
ROUTES_ADVICE: Final = "See docs/runbooks/routes-behind.md."
MISSING_ADVICE: Final = "Services create them when they start: see that they run."
SETTINGS_ADVICE: Final = "Change it with Kafka's own tools; docs/how-to/use-existing-servers.md."


@dataclass(frozen=True, slots=True)
class Finding:
    """`level`: ok, warning or error. `advice` says what to do; empty when all is well."""

    check: str
    level: str
    text: str
    advice: str = ""


Check = Callable[[Surroundings], Awaitable[list[Finding]]]


def run_doctor(data_dir: Path, *, as_json: bool) -> int:
    """Print the findings; return 1 when one of them is an error."""
    findings = asyncio.run(examine(data_dir))
    if as_json:
        print(json.dumps({"findings": [asdict(one) for one in findings]}))
    else:
        _show(findings)
    return int(any(one.level == "error" for one in findings))


async def examine(data_dir: Path) -> list[Finding]:
    """Every check's findings, in order; a check that cannot run is a finding too."""
    findings = [_versions(), _disk(data_dir)]
    try:
        found = find_surroundings(data_dir)
    except NoSurroundings as problem:
        return [*findings, Finding("system", "error", "not found", str(problem))]
    topics = await _guarded(_topics, found)
    findings += [*topics, *await _guarded(_database, found), *await _guarded(_routes, found)]
    if all(one.level == "ok" for one in topics):
        # Asking for topics that are missing makes some brokers create them.
        findings += await _guarded(_lag, found)
    return findings


async def _guarded(check: Check, found: Surroundings) -> list[Finding]:
    name = check.__name__.strip("_")
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check(found)
    except (FileFluxError, TimeoutError, OSError) as error:
        advice = "See that the server runs and that the address in the environment is right."
        return [Finding(name, "error", str(error) or "no answer in time", advice)]
    except Exception as error:  # The boundary of a check: what it cannot ask is a finding too.
        advice = "See that the schema is there (fileflux run migrate) and whose server this is."
        return [Finding(name, "error", repr(error), advice)]


def _versions() -> Finding:
    names = ("fileflux", "faust-streaming", "aiokafka", "asyncpg")
    return Finding("versions", "ok", ", ".join(f"{n} {packages.version(n)}" for n in names))


def _disk(data_dir: Path) -> Finding:
    here = data_dir.absolute()
    directory = next(path for path in (here, *here.parents) if path.exists())
    figures = os.statvfs(directory)
    share = figures.f_bavail / figures.f_blocks if figures.f_blocks else 0.0
    text = f"{figures.f_bavail * figures.f_frsize >> 30} GiB free at {directory} ({share:.0%})"
    if share < FREE_SHARE_MIN:
        return Finding("disk", "warning", text, "Free some space: nodes stop at their reserve.")
    return Finding("disk", "ok", text)


async def _topics(found: Surroundings) -> list[Finding]:
    async with open_broker(found) as broker:
        topics = await broker.check_topics()
    findings = [Finding("topics", "error", one, SETTINGS_ADVICE) for one in topics.problems]
    if topics.missing:
        text = f"{', '.join(topics.missing)}: missing"
        findings.append(Finding("topics", "warning", text, MISSING_ADVICE))
    return findings or [
        Finding("topics", "ok", "partitions, retention and flush settings are as they must be")
    ]


async def _database(found: Surroundings) -> list[Finding]:
    async with open_metadata(found) as metadata:
        clock = SystemClock()
        before = clock.now_us()
        there = await metadata.reader.clock_us()
        skew_us = abs(there - (before + clock.now_us()) // 2)
    problems = await durability_problems(found.database_url)
    findings = [Finding("database", "error", text, advice) for text, advice in problems]
    if skew_us > SKEW_US_MAX:
        advice = "Synchronize the clocks (chrony or ntpd): deadlines are in database time."
        findings.append(Finding("clock", "warning", f"{skew_us / 1e6:.1f} s apart", advice))
    return findings or [
        Finding("database", "ok", f"durable settings, clocks {skew_us / 1000:.1f} ms apart")
    ]


async def _routes(found: Surroundings) -> list[Finding]:
    async with open_routes(found) as (store, _):
        routes = await store.routes()
    stuck = [
        Finding("routes", "warning", f"{one.name}: {one.problem}", ROUTES_ADVICE)
        for one in routes
        if one.problem
    ]
    return stuck or [Finding("routes", "ok", f"{len(routes)} routes, none with a problem")]


async def _lag(found: Surroundings) -> list[Finding]:
    lanes = [
        (topic, lane)
        for topic in (UPLOADS_SEALED, BUNDLES_COMMITTED)
        for lane in range(CommonSettings().lanes)
    ]
    async with open_metadata(found) as metadata, open_broker(found) as broker:
        positions = await metadata.reader.lane_positions(lanes)
        source = await broker.source([*lanes, (AUDIT, 0)])
        behind = 0
        for topic, lane in lanes:
            first, end = await source.bounds(topic, lane)
            position = positions.get((topic, lane))
            done = position.offset if position and position.offset is not None else first
            behind += max(0, end - done)
        pending = len(await metadata.reader.pending_audit(limit=LAG_RECORDS_MAX))
        head, last = await metadata.reader.audit_head(STREAM), await last_event(source)
        pending += max(0, head.next_position - 1 - (last.position if last else 0))
    return [
        _lag_finding("materializer", behind, "Look at the materializer's log and the database."),
        _lag_finding("sequencer", pending, "Look at the sequencer's log."),
    ]


def _lag_finding(name: str, behind: int, advice: str) -> Finding:
    text = f"{behind} records behind"
    if behind >= LAG_RECORDS_MAX:
        return Finding(name, "warning", text, advice)
    return Finding(name, "ok", text)


def _show(findings: list[Finding]) -> None:
    out = Console(highlight=False)
    marks = {"ok": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "error": "[red]✗[/red]"}
    for one in findings:
        out.print(f"{marks[one.level]} {one.check:<13}{escape(one.text)}")
        if one.advice:
            out.print(f"  {'':<13}[dim]{escape(one.advice)}[/dim]")
