"""F12, F24: a full node takes nothing more; clients that leave in the middle leave nothing."""

import asyncio
from functools import partial
from typing import Final

import pytest
from tests.fault.s3_client import S3Client
from tests.fault.world import BUCKET, Injury, World, fault_rounds, uploads_go_on
from tests.model.bodies import make_body

pytestmark = [pytest.mark.fault, pytest.mark.cluster, pytest.mark.timeout(300 * fault_rounds())]

RECOVERY_S_MAX: Final = 45.0
FULL_S: Final = 8.0
MORE_THAN_ANY_DISK: Final = str(1 << 60)
STEP_BYTES: Final = 64 << 10
STEPS: Final = 20
"""Bodies of up to 1.25 MiB: the small and the large class."""


async def test_a_full_node_refuses_and_the_others_take_over(world: World) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_fill, world)
        await world.run_fault("F12 node-2 full", fault, recovery_s_max=RECOVERY_S_MAX)


async def _fill(world: World, injury: Injury) -> None:
    node = world.cluster.services["node-2"]
    before = node.env
    node.env = {**before, "FILEFLUX_NODE_RESERVE_BYTES": MORE_THAN_ANY_DISK}
    await asyncio.to_thread(world.cluster.restart, "node-2")
    try:
        await uploads_go_on(injury, FULL_S)
    finally:
        node.env = before
        await asyncio.to_thread(world.cluster.restart, "node-2")
    injury.healed()


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(world: World) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_leave_at_every_step, world)
        await world.run_fault("F24 clients leave", fault, recovery_s_max=RECOVERY_S_MAX)


async def _leave_at_every_step(world: World, injury: Injury) -> None:
    """Nobody waits for their answers, so these keys are looked at by themselves."""
    body = make_body(0, 99, len(world.epochs), STEPS * STEP_BYTES + 1)
    paths = [f"/{BUCKET}/{injury.epoch.name}-left-{step}" for step in range(STEPS + 1)]
    client = S3Client(world.account)
    for step, path in enumerate(paths):
        await client.send_part_of(path, body, sent_bytes=step * STEP_BYTES)
    injury.healed()
    for path in paths:
        answer = await client.request("GET", path)
        assert answer.status == 404, f"{path}: {answer.status}"
    answer = await client.request("PUT", paths[0], body=body)
    assert answer.status == 200, answer
    await client.close()
    injury.note = f" at {len(paths)} places of {len(body)} bytes"
