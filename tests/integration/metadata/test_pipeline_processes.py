"""Materializer and sequencer between a real broker and a real database."""

import asyncio
import contextlib
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.model.lane_world import NODES, LaneWorld, open_world

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.core.telemetry import LANES_LOST
from fileflux.events.audit import AuditStream, from_record
from fileflux.events.kafka import KafkaBroker
from fileflux.events.schema import UploadsSealed
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.chain import ChainState, NumberedRecord, verify_chain
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.materializer import Materializer
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
LANES = 2
WAIT_S = 30.0


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: its topics are wiped here."""
    made = KafkaServer(server_dir / "kafka-metadata", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
async def broker(server: KafkaServer) -> AsyncIterator[KafkaBroker]:
    made = KafkaBroker(server.bootstrap_servers, lanes=LANES, slots=1, clock=SystemClock())
    await made.ensure_topics()
    yield made
    await made.close()


@pytest.fixture
async def world(
    broker: KafkaBroker, database: PostgresDatabase, reader: PostgresReader
) -> LaneWorld:
    return await open_world(
        broker, database, reader, SystemClock(), lanes=LANES, seed=random.randrange(1 << 30)
    )


@contextlib.asynccontextmanager
async def running(*processes: Materializer | Sequencer) -> AsyncIterator[None]:
    """Run them until the block ends; what one of them raises comes out."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for process in processes:
            tasks.create_task(process.run(stopping))
        try:
            yield
        finally:
            stopping.set()


async def _answers(world: LaneWorld, seals: list[UploadsSealed]) -> None:
    """Wait until every seal has been answered through the broker."""
    wanted = {seal.seal_id for seal in seals}
    async with asyncio.timeout(WAIT_S):
        while not wanted <= {done.seal_id for done in await world.read_answers(wait_s=0.2)}:
            pass


async def test_a_lone_upload_is_answered_and_how_long_that_takes(
    world: LaneWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    times = []
    async with running(await world.materializer()):
        for number in range(60):
            seal = await world.upload(b"lone-%d" % number)
            await world.emit(seal)
            await asyncio.sleep(0.01)
            start = time.perf_counter()
            await world.confirm(seal, NODES[0])
            await _answers(world, [seal])
            times.append(1000 * (time.perf_counter() - start))

    assert await world.version_of(b"lone-59") == seal.changes[0].upload_id
    warm = sorted(times[10:])
    with capsys.disabled():
        print(
            f"\ncommit published → completion read: p50 {statistics.median(warm):.1f} ms, "
            f"p90 {warm[int(0.9 * len(warm))]:.1f} ms, of which two Kafka hops"
        )


async def test_two_materializers_on_one_lane_settle_every_seal_once(world: LaneWorld) -> None:
    both = [await world.materializer(), await world.materializer()]
    records = await world.record_count()
    lost = LANES_LOST._value.get()
    async with running(*both):
        seals = []
        for number in range(100):
            seal = await world.upload(b"two-%d" % number, b"shared", lane=number % LANES)
            seals.append(seal)
            await world.emit(seal)
            await world.confirm(seal, NODES[number % 3])
        await _answers(world, seals)

    assert [await world.statuses(seal) for seal in seals] == [["ok", "ok"]] * 100
    assert await world.record_count() - records == 200
    assert LANES_LOST._value.get() > lost


async def test_a_materializer_takes_over_the_lanes_of_one_that_is_gone(world: LaneWorld) -> None:
    first, second = await world.materializer(), await world.materializer()
    async with running(second):
        async with running(first):
            seals = [await world.upload(b"a%d" % n, lane=n % LANES) for n in range(20)]
            await world.emit(*seals)
            for seal in seals:
                await world.confirm(seal, NODES[0])
            await _answers(world, seals)
        last = [await world.upload(b"z%d" % n, lane=n) for n in range(LANES)]
        await world.emit(*last)
        for seal in last:
            await world.confirm(seal, NODES[0])
        await _answers(world, last)

    assert [await world.statuses(seal) for seal in last] == [["ok"]] * LANES


async def _sequencer(world: LaneWorld) -> Sequencer:
    publisher = AuditPublisher(
        reader=world.reader,
        broker=world.broker,
        publisher=await world.broker.safe_publisher(),
        source=await world.broker.lookup(),
        clock=world.clock,
        stream=STREAM,
    )
    return Sequencer(
        SequencerDependencies(
            database=world.database, reader=world.reader, publisher=publisher, clock=world.clock
        )
    )


async def _published(world: LaneWorld) -> list[NumberedRecord]:
    source = await world.broker.source([(AUDIT, 0)])
    offset, end = await source.bounds(AUDIT, 0)
    records: list[NumberedRecord] = []
    async with asyncio.timeout(WAIT_S):
        while offset < end:
            for record in await source.fetch(wait_s=0.2):
                event = from_record(record)
                records.append(
                    NumberedRecord(
                        event.position,
                        event.stream,  # type: ignore[arg-type]
                        event.sequence,
                        event.previous_hash,
                        event.value,
                    )
                )
                offset = record.position.offset + 1
    await source.close()
    return records


async def _until_published(world: LaneWorld) -> None:
    """Wait until nothing is pending and the topic ends where the head stands."""
    source = await world.broker.source([(AUDIT, 0)])
    stream = AuditStream(source)
    async with asyncio.timeout(WAIT_S):
        while True:
            pending = await world.reader.pending_audit(limit=1)
            head = await world.reader.audit_head(STREAM)
            last = await stream.last()
            if not pending and last is not None and last.position == head.next_position - 1:
                break
            await asyncio.sleep(0.1)
    await source.close()


async def _until_whole(world: LaneWorld) -> list[NumberedRecord]:
    """Wait until the topic verifies from its first record to the head; return what it holds.

    Its end alone tells nothing: what was on its way when the broker was wiped may come first.
    """
    async with asyncio.timeout(WAIT_S):
        while True:
            head = await world.reader.audit_head(STREAM)
            records = await _published(world)
            if records and verify_chain(records, after=ChainState(), head=head)[0] == []:
                return records
            await asyncio.sleep(0.1)


async def _write(world: LaneWorld, count: int) -> None:
    writer = DirectWriter(world.database, rng=random.Random())
    changes = [world.maker.create_multipart(world.bucket, b"k%d" % n) for n in range(count)]
    outcomes = await asyncio.gather(*(writer.submit(change) for change in changes))
    assert all(outcome.ok for outcome in outcomes)
    await writer.close()


async def test_a_wiped_audit_topic_gets_every_record_again_without_a_gap(
    world: LaneWorld, broker: KafkaBroker, server: KafkaServer
) -> None:
    """F7: the broker's disk is gone, the stream is not."""
    async with running(await _sequencer(world)):
        await _write(world, 200)
        await _until_published(world)
        before = await _published(world)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.wipe)
        await _write(world, 50)
        await asyncio.to_thread(server.start)
        await broker.ensure_topics()
        after = await _until_whole(world)

    head = await world.reader.audit_head(STREAM)
    assert verify_chain(before)[0] == []
    assert Counter(r.position for r in after).keys() == set(range(1, head.next_position))
    assert after[: len(before)] == before
