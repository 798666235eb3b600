"""F1: kill -9 at every failpoint in the code, under load; nothing acknowledged is lost."""

import asyncio
import re
import signal
import time
from pathlib import Path
from typing import Final

import pytest
from tests.fault.world import Injury, World, fault_rounds

pytestmark = [pytest.mark.fault, pytest.mark.cluster, pytest.mark.timeout(240 * fault_rounds())]

ROOT: Final = Path(__file__).parents[2]
FAILPOINT: Final = re.compile(r'\bfailpoint\("([a-z_.]+)"\)')
ELSEWHERE: Final = ("rebuild.", "routes.")
"""Their own tests kill there: a command's (test_rebuild_processes.py), and what only routes pass
(test_killed_dispatcher.py), of which there is none here.
"""
NAMES: Final = sorted(
    {
        name
        for path in ROOT.glob("*/fileflux/**/*.py")
        for name in FAILPOINT.findall(path.read_text())
        if not name.startswith(ELSEWHERE)
    }
)
OWNER: Final = {
    "settle": "ingest",
    "direct": "ingest",
    "archiver": "sequencer",
    "archive": "sequencer",
}
"""Whose process passes the points that are named after what happens."""
HITS_MAX: Final = 4
"""The kill comes at the first to the fourth time."""
SELDOM: Final = ("placement", "archive", "abort", "checkpoint")
"""What comes every few seconds at most: the first time."""
REACHED_WITHIN_S: Final = 40.0
GIVEN_UP_AFTER_S: Final = 12.0
POLL_S: Final = 0.02
RECOVERY_S_MAX: Final = 45.0


@pytest.mark.parametrize("name", NAMES)
async def test_a_kill_at_a_failpoint_loses_nothing(world: World, name: str) -> None:
    for _ in range(fault_rounds()):
        await world.run_fault(
            f"F1 {name}",
            lambda injury: _kill_at(world, injury, name),
            recovery_s_max=RECOVERY_S_MAX,
        )


async def _kill_at(world: World, injury: Injury, name: str) -> None:
    service = _service(name, injury)
    starts = world.cluster.services[service].starts
    hits = 1 if any(part in name for part in SELDOM) else HITS_MAX
    world.arm(service, f"{name}=kill@{injury.rng.randint(1, hits)}")
    injury.note = f" of {service}"
    try:
        await _provoke(world, name)
        deadline_s = time.monotonic() + REACHED_WITHIN_S
        while _is_untouched(world, service, starts):
            if time.monotonic() > deadline_s:
                injury.unreached = f"{name} is not reached by this workload"
                return
            await asyncio.sleep(POLL_S)
    finally:
        world.disarm(service)
    injury.healed()


def _service(name: str, injury: Injury) -> str:
    owner = name.partition(".")[0]
    if owner == "node":
        return f"node-{injury.rng.randint(1, 3)}"
    return OWNER.get(owner, owner)


def _is_untouched(world: World, service: str, starts: int) -> bool:
    process = world.cluster.services[service]
    return process.is_running and process.starts == starts


async def _provoke(world: World, name: str) -> None:
    """What healthy clients alone do not bring about."""
    if "abort" in name:
        # Nobody settles: after a while ingest gives up and settles by itself.
        await _paused(world, "materializer", GIVEN_UP_AFTER_S)
    elif name.startswith("placement"):
        # A silent node changes the map.
        await _paused(world, "node-3", 5.0)


async def _paused(world: World, service: str, seconds: float) -> None:
    world.cluster.services[service].signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        world.cluster.services[service].signal(signal.SIGCONT)
