"""F5 to F8: the broker and the database die, come back, or come back empty."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from tests.fault.world import CLIENTS_THAT_HANG, Injury, World, fault_rounds

from fileflux.console.kafka_server import KafkaServer
from fileflux.console.postgres_server import PostgresServer
from fileflux.console.wiring import Surroundings, open_broker
from fileflux.core.clock import SystemClock
from fileflux.events.topics import PIPELINE_TOPICS
from fileflux.placement.map_view import MapView

pytestmark = [pytest.mark.fault, pytest.mark.cluster, pytest.mark.timeout(300 * fault_rounds())]

BROKER_RECOVERY_S_MAX: Final = 45.0
WIPED_RECOVERY_S_MAX: Final = 120.0
DATABASE_RECOVERY_S_MAX: Final = 45.0
DATABASE_DOWN_S: Final = 5.0
MAP_WITHIN_S: Final = 45.0
"""If Faust misses a wiped topic, placement says after 15 s that nobody leads, and is restarted."""
TAIL_BYTES_MAX: Final = 64 << 10


@pytest.mark.parametrize("how", ["kill", "restart"])
async def test_a_broker_that_comes_back_has_lost_nobody_s_upload(world: World, how: str) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_broker_away, world, end=_kill if how == "kill" else _stop)
        await world.run_fault(
            f"F5 broker {how}",
            fault,
            recovery_s_max=BROKER_RECOVERY_S_MAX,
            clients=CLIENTS_THAT_HANG,
        )


async def test_a_broker_that_lost_the_last_records_of_its_topics_has_lost_nobody_s_upload(
    world: World,
) -> None:
    """F6: the power failed, and what the pipeline's topics had not flushed is gone."""
    for _ in range(fault_rounds()):
        lost = list[int]()
        fault = partial(_broker_away, world, end=partial(_lose_tails, world.seed, lost))
        await world.run_fault(
            "F6 broker loses tails",
            fault,
            recovery_s_max=BROKER_RECOVERY_S_MAX,
            clients=CLIENTS_THAT_HANG,
        )
        world.say(f"F6 cut {sum(lost)} bytes off {len(lost)} partitions")
        assert lost, "no partition had records to lose"


async def test_a_broker_that_comes_back_empty_is_filled_again(world: World) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_broker_away, world, end=_wipe)
        await world.run_fault(
            "F7 broker wiped",
            fault,
            recovery_s_max=WIPED_RECOVERY_S_MAX,
            clients=CLIENTS_THAT_HANG,
        )
        assert await _finds_a_map(world.surroundings), "who starts now cannot place anything"


@pytest.mark.parametrize("how", ["immediate", "kill"])
async def test_a_database_that_comes_back_has_kept_what_was_acknowledged(
    world: World, how: str
) -> None:
    for _ in range(fault_rounds()):
        fault = partial(_database_away, world, how=how)
        await world.run_fault(f"F8 database {how}", fault, recovery_s_max=DATABASE_RECOVERY_S_MAX)


async def _finds_a_map(surroundings: Surroundings) -> bool:
    async with open_broker(surroundings) as broker:
        view = MapView(broker, clock=SystemClock())
        await view.start()
        try:
            return await view.wait_ready(timeout_s=MAP_WITHIN_S)
        finally:
            await view.close()


async def _broker_away(world: World, injury: Injury, end: Callable[[KafkaServer], None]) -> None:
    kafka = world.cluster.servers.kafka
    assert kafka is not None
    began_s = time.monotonic()
    with world.servers_held():
        await asyncio.to_thread(end, kafka)
        await asyncio.to_thread(kafka.start)
    injury.healed()
    injury.note = f", away for {injury.healed_s - began_s:.1f} s"


def _kill(kafka: KafkaServer) -> None:
    kafka.kill()


def _stop(kafka: KafkaServer) -> None:
    kafka.stop()


def _wipe(kafka: KafkaServer) -> None:
    kafka.wipe()


def _lose_tails(seed: int, lost: list[int], kafka: KafkaServer) -> None:
    """Cut the newest segments of the topics that are not flushed record by record."""
    kafka.kill()
    rng = random.Random(seed)
    for topic in (topic for topic in PIPELINE_TOPICS if not topic.durable):
        for partition in sorted((kafka.data_dir / "log").glob(f"{topic.name}-*")):
            segment = max(partition.glob("*.log"))
            size = segment.stat().st_size
            if size:
                os.truncate(segment, size - (cut := rng.randint(1, min(size, TAIL_BYTES_MAX))))
                lost.append(cut)


async def _database_away(world: World, injury: Injury, how: str) -> None:
    postgres = world.cluster.servers.postgres
    assert postgres is not None
    began_s = time.monotonic()
    injury.epoch.outages.append((began_s, float("inf")))
    with world.servers_held():
        await asyncio.to_thread(_end, postgres, how)
        await asyncio.sleep(DATABASE_DOWN_S)
        await asyncio.to_thread(postgres.start)
    injury.healed()
    injury.epoch.outages[-1] = (began_s, injury.healed_s)
    injury.note = f", away for {injury.healed_s - began_s:.1f} s"


def _end(postgres: PostgresServer, how: str) -> None:
    if how == "kill":
        postgres.kill()
    else:
        postgres.stop(immediate=True)
