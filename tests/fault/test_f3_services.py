"""F3, F4: a service killed at any time, or stopped for a while and let go on as if nothing was."""

import asyncio
import signal
from functools import partial
from typing import Final

import pytest
from tests.fault.world import Injury, World, fault_rounds

pytestmark = [pytest.mark.fault, pytest.mark.cluster, pytest.mark.timeout(240 * fault_rounds())]

SERVICES: Final = (
    *("node-1", "node-2", "node-3"),
    *("placement", "materializer", "sequencer", "webhooks", "ingest"),
)
RECOVERY_S_MAX: Final = 45.0
ZOMBIE_S: Final = 15.0
WITHOUT_PLACEMENT_S: Final = 60.0


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_killed_at_any_time_loses_nothing(world: World, service: str) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_kill, world, service=service)
        await world.run_fault(f"F3 kill {service}", fault, recovery_s_max=RECOVERY_S_MAX)


async def _kill(world: World, injury: Injury, service: str) -> None:
    await asyncio.sleep(injury.rng.random())
    await asyncio.to_thread(world.cluster.services[service].kill)
    injury.healed()


@pytest.mark.parametrize(
    "service",
    ["materializer", "sequencer", pytest.param("placement", marks=pytest.mark.soak)],
)
async def test_a_service_that_wakes_after_a_quarter_of_a_minute_changes_nothing(
    world: World, service: str
) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_stop_for_a_while, world, service=service)
        await world.run_fault(f"F4 stop {service}", fault, recovery_s_max=RECOVERY_S_MAX)


async def _stop_for_a_while(world: World, injury: Injury, service: str) -> None:
    world.cluster.services[service].signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(ZOMBIE_S)
    finally:
        world.cluster.services[service].signal(signal.SIGCONT)
    injury.healed()
    injury.note = f" for {ZOMBIE_S:.0f} s"


@pytest.mark.soak
async def test_uploads_go_on_without_placement_for_a_minute(world: World) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_without_placement, world)
        await world.run_fault("F3 placement gone", fault, recovery_s_max=RECOVERY_S_MAX)


async def _without_placement(world: World, injury: Injury) -> None:
    """Killed again and again by whoever watches: for a minute there is none."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + WITHOUT_PLACEMENT_S
    while loop.time() < until_s:
        await asyncio.to_thread(world.cluster.services["placement"].kill)
        before = injury.epoch.acknowledged_writes()
        await asyncio.sleep(5.0)
        assert injury.epoch.acknowledged_writes() > before, "uploads stand still without placement"
    injury.healed()
    injury.note = f" for {WITHOUT_PLACEMENT_S:.0f} s"
