"""After all faults of the session: everything that was there after each of them is there now."""

import asyncio
from collections import Counter
from typing import Final

import pytest
from tests.fault.hook_receiver import events_of
from tests.fault.rebuilt import compare_rebuilt
from tests.fault.s3_client import S3Client
from tests.fault.world import BUCKET, World, fault_rounds
from tests.model.bodies import label_of
from tests.model.history import ABSENT

pytestmark = [pytest.mark.fault, pytest.mark.cluster, pytest.mark.timeout(300 * fault_rounds())]

READERS: Final = 8
TOLD_WITHIN_S: Final = 120.0


async def test_what_was_there_after_each_fault_is_there_after_all(world: World) -> None:
    expected = {key: value for epoch in world.epochs for key, value in epoch.final.items()}
    assert expected, "no fault was injected before"

    different = await _different(world, expected)

    present = sum(value != ABSENT for value in expected.values())
    world.say(
        f"afterwards: {len(expected)} keys of {len(world.epochs)} epochs read, {present} objects,"
        f" {len(different)} differ; {world.restarts} processes were started again"
    )
    assert different == []


async def test_the_audit_topic_rebuilds_every_row_that_the_faults_left(world: World) -> None:
    """I9, over the whole history of the session: what is audited is enough, whatever happened."""
    assert world.faults, "no fault was injected before"

    found = await compare_rebuilt(world.surroundings)

    counts = Counter(world.faults)
    covered = ", ".join(f"{name} x {count}" for name, count in sorted(counts.items()))
    world.say(
        f"afterwards: rebuilt from {found.records} records of the topic: {found.rows} rows,"
        f" {len(found.different)} differ, after {len(world.faults)} faults ({covered})"
    )
    assert found.rows > 0
    assert found.different == []


async def test_every_event_was_told_to_the_webhook(world: World) -> None:
    """I6 for receivers: at least once each, with the event's own id."""
    told = await events_of(world.surroundings, BUCKET)
    async with asyncio.timeout(TOLD_WITHIN_S):
        while not told <= world.hooks.taken:
            await asyncio.sleep(0.2)

    doubles = world.hooks.count - len(world.hooks.taken)
    world.say(f"afterwards: {len(told)} events told to a webhook, {doubles} of them once more")
    assert world.hooks.taken - told == set()


async def test_no_request_and_no_task_of_ours_failed_unexpectedly(world: World) -> None:
    """Libraries complain about a broker or a database that is away; we know what to do then."""
    ours = [
        f"{path.name}: {line[:300]}"
        for path in world.service_logs()
        for line in path.read_text(errors="replace").splitlines()
        if '"level": "error"' in line and '"logger": "fileflux.' in line
    ]

    world.say(f"afterwards: {len(ours)} errors logged by our own code")
    assert ours == []


async def _different(world: World, expected: dict[str, str]) -> list[str]:
    keys = sorted(expected)
    found: dict[str, str] = {}

    async def read(share: list[str]) -> None:
        client = S3Client(world.account)
        for key in share:
            answer = await client.request("GET", f"/{BUCKET}/{key}")
            found[key] = label_of(answer.body) if answer.status == 200 else ABSENT
        await client.close()

    await asyncio.gather(*(read(keys[number::READERS]) for number in range(READERS)))
    return [key for key in keys if found[key] != expected[key]]
