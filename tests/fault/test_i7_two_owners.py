"""I7: two owners of one thing are legal, and together they are one store."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from tests.fault.world import Injury, World, fault_rounds, uploads_go_on

from fileflux.console.loopback_ports import free_tcp_ports
from fileflux.console.processes import ManagedProcess

pytestmark = [pytest.mark.fault, pytest.mark.cluster, pytest.mark.timeout(300 * fault_rounds())]

RECOVERY_S_MAX: Final = 45.0
STARTS_WITHIN_S: Final = 60.0
STALLED_S: Final = 6.0
"""Twice as long as a lane may stand still."""
OWN_PORTS: Final = (
    "FILEFLUX_OPS_PORT",
    "FILEFLUX_INGEST_PORT",
    "FILEFLUX_INGEST_INTERNAL_PORT",
    "FILEFLUX_INGEST_METRICS_PORT",
)


async def test_two_materializers_on_the_same_lanes_settle_once(world: World) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_second_materializer, world)
        await world.run_fault("I7 two materializers", fault, recovery_s_max=RECOVERY_S_MAX)


async def _second_materializer(world: World, injury: Injury) -> None:
    """The first stands still for longer than a turn may; the second takes over; both go on."""
    first = world.cluster.services["materializer"]
    with _another(world, "materializer") as second:
        await _ready(second)
        await uploads_go_on(injury, 2.0)
        first.signal(signal.SIGSTOP)
        try:
            await uploads_go_on(injury, STALLED_S)
        finally:
            first.signal(signal.SIGCONT)
        await uploads_go_on(injury, 3.0)
        injury.healed()


async def test_two_ingests_on_one_database_are_one_store(world: World) -> None:
    """Half of the clients speak to each, on the same keys; then one is killed."""
    for _ in range(fault_rounds()):
        with _another(world, "ingest") as second:
            await _ready(second)
            other = replace(world.account, host=f"127.0.0.1:{second.ports()['s3']}")
            fault = partial(_kill_the_second, second)
            await world.run_fault(
                "I7 two ingests",
                fault,
                recovery_s_max=RECOVERY_S_MAX,
                accounts=[world.account, other],
            )


async def _kill_the_second(second: ManagedProcess, injury: Injury) -> None:
    """Its staged bundles are the first one's to serve; its clients find nobody until it is back."""
    await asyncio.sleep(2.0 + injury.rng.random())
    await asyncio.to_thread(second.kill)
    second.start()
    injury.healed()
    await _ready(second)


@contextmanager
def _another(world: World, name: str) -> Iterator[ManagedProcess]:
    """A second process of a service, with ports of its own; gone at the end."""
    like = world.cluster.services[name]
    process = ManagedProcess(
        name=f"{name}-2",
        argv=like.argv,
        env={**like.env, **_own_ports(), "FILEFLUX_FAILPOINTS_FILE": ""},
        log_path=world.cluster.data.logs / f"{name}-2.log",
        ready_path=world.cluster.data.run / f"{name}-2.json",
    )
    process.start()
    try:
        yield process
    finally:
        process.signal(signal.SIGTERM)
        process.wait_stopped(time.monotonic() + 10)


def _own_ports() -> dict[str, str]:
    """Chosen once: after a restart its clients find it where it was."""
    ports = free_tcp_ports(len(OWN_PORTS))
    return {name: str(port) for name, port in zip(OWN_PORTS, ports, strict=True)}


async def _ready(process: ManagedProcess) -> None:
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while not process.ports():
        assert process.is_running, process.last_lines()
        assert time.monotonic() < deadline_s, process.last_lines()
        await asyncio.sleep(0.05)
