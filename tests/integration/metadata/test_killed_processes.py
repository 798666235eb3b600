"""The metadata processes, killed at every step of theirs and started again."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.model.lane_world import NODES, LaneWorld, open_world

from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.events.audit import from_record
from fileflux.events.kafka import KafkaBroker
from fileflux.events.topics import AUDIT, all_topics
from fileflux.metadata.audit_log import Verification, read_database, read_topic, verify
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader
from fileflux.metadata.sequencer import STREAM

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WAIT_S = 40.0
POINTS = (
    "materializer.before_transaction",
    "materializer.after_commit",
    "materializer.after_publish",
    "sequencer.after_number",
    "sequencer.before_publish",
    "sequencer.after_publish",
)


@pytest.fixture
async def world(
    kafka_bootstrap: str, database: PostgresDatabase, reader: PostgresReader
) -> AsyncIterator[LaneWorld]:
    clock = SystemClock()
    broker = KafkaBroker(kafka_bootstrap, lanes=4, slots=8, clock=clock, topics=all_topics())
    await broker.ensure_topics()
    yield await open_world(broker, database, reader, clock, lanes=4, seed=random.randrange(1 << 30))
    await broker.close()


@contextlib.asynccontextmanager
async def _process(
    dsn: str, kafka: str, tmp_path: Path, failpoint: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.metadata", "all"),
        env={
            **os.environ,
            "DATABASE_URL": dsn,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "FILEFLUX_FAILPOINTS": f"{failpoint}=kill" if failpoint else "",
            "FILEFLUX_READY_FILE": str(tmp_path / "ready.json"),
            "FILEFLUX_LOG_LEVEL": "WARNING",
        },
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(WAIT_S):
            await process.wait()


async def _until_whole(world: LaneWorld) -> tuple[Verification, Verification]:
    """Wait until everything committed is numbered and published; return both verifications."""
    async with asyncio.timeout(WAIT_S):
        while True:
            head = await world.reader.audit_head(STREAM)
            pending = await world.reader.pending_audit(limit=1)
            if not pending and await _last_position(world) == head.next_position - 1:
                break
            await asyncio.sleep(0.2)
    source = await world.broker.source([(AUDIT, 0)])
    in_topic = await verify(read_topic(source), head=head)
    await source.close()
    return await verify(read_database(world.reader), head=head), in_topic


async def _last_position(world: LaneWorld) -> int:
    source = await world.broker.source([(AUDIT, 0)])
    try:
        first, end = await source.bounds(AUDIT, 0)
        record = await source.read_one(AUDIT, 0, end - 1) if end > first else None
        return 0 if record is None else from_record(record).position
    except BrokerUnavailable:
        return 0
    finally:
        await source.close()


async def test_killed_at_any_step_it_settles_once_and_publishes_without_a_gap(
    world: LaneWorld,
    migrated_dsn: str,
    kafka_bootstrap: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """F1 and F3 for the materializer and the sequencer."""
    killed = 0
    seals = []
    for number, point in enumerate(POINTS):
        async with _process(migrated_dsn, kafka_bootstrap, tmp_path, point) as process:
            seal = await world.upload(b"k%d" % number, b"shared", lane=number % 4)
            seals.append(seal)
            await world.emit(seal)
            await world.confirm(seal, *NODES)
            async with asyncio.timeout(WAIT_S):
                killed += await process.wait() == -9
    async with _process(migrated_dsn, kafka_bootstrap, tmp_path) as process:
        await world.emit(*seals)
        async with asyncio.timeout(WAIT_S):
            while None in [await world.statuses(seal) for seal in seals]:
                await asyncio.sleep(0.1)
        in_database, in_topic = await _until_whole(world)
        process.terminate()
        status = await process.wait()

    assert killed == len(POINTS)
    assert status == 0
    assert [await world.statuses(seal) for seal in seals] == [["ok", "ok"]] * len(POINTS)
    assert in_database.faults == ()
    assert in_topic.faults == ()
    assert in_database.record_count == 2 + 2 * len(POINTS)  # A user, a bucket; each upload once.
    with capsys.disabled():
        print(f"\nkilled {killed} times; {in_database.record_count} records, 0 lost, 0 doubled")
