"""The audit stream read on a real Kafka and PostgreSQL, by the reader and by the command line."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.model.lane_world import LaneWorld, open_world

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.events.kafka import KafkaBroker
from fileflux.events.topics import AUDIT, all_topics
from fileflux.metadata.audit_places import DatabasePlace, TopicPlace
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WAIT_S = 90.0


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: it is wiped here."""
    made = KafkaServer(server_dir / "kafka-audit-reader", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
async def world(
    server: KafkaServer, database: PostgresDatabase, reader: PostgresReader
) -> AsyncIterator[LaneWorld]:
    clock = SystemClock()
    await asyncio.to_thread(server.start)
    broker = KafkaBroker(
        server.bootstrap_servers, lanes=2, slots=2, clock=clock, topics=all_topics()
    )
    await broker.ensure_topics()
    yield await open_world(broker, database, reader, clock, lanes=2, seed=random.randrange(1 << 30))
    await broker.close()


@contextlib.asynccontextmanager
async def sequencing(world: LaneWorld) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    sequencer = Sequencer(
        SequencerDependencies(
            database=world.database,
            reader=world.reader,
            publisher=AuditPublisher(
                reader=world.reader,
                broker=world.broker,
                publisher=await world.broker.safe_publisher(),
                source=await world.broker.lookup(),
                clock=world.clock,
                stream=STREAM,
            ),
            clock=world.clock,
        )
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sequencer.run(stopping))
        try:
            yield
        finally:
            stopping.set()


async def write(world: LaneWorld, count: int, key: str = "k") -> None:
    writer = DirectWriter(world.database, rng=random.Random())
    for number in range(count):
        change = world.maker.create_multipart(world.bucket, f"{key}{number}".encode())
        assert (await writer.submit(change)).ok
    await writer.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_reader_of_a_wiped_topic_goes_on_from_the_database_and_back(
    world: LaneWorld, server: KafkaServer
) -> None:
    """F7 for readers: Kafka's disk is gone while they read, and no position is lost or doubled."""
    topic = TopicPlace(lambda: world.broker.source([(AUDIT, 0)]), world.clock)
    answers: dict[str, int] = {}
    places = [Counted(topic, answers), Counted(DatabasePlace(world.reader), answers)]
    seen: list[NumberedRecord] = []

    async def follow() -> None:
        async for run in AuditReader(places).pages(1, follow=world.clock):
            seen.extend(run)

    following = asyncio.create_task(follow())
    async with sequencing(world):
        await write(world, 50)
        head = await world.reader.audit_head(STREAM)
        await until(lambda: len(seen) >= 50)
        assert answers["topic"] > 0, "the topic is read where it has what is wanted"
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.wipe)
        before = len(seen)
        await write(world, 30)
        await until(lambda: len(seen) >= before + 30)
        await asyncio.to_thread(server.start)
        await world.broker.ensure_topics()
        from_topic = answers["topic"]
        number = 0
        async with asyncio.timeout(WAIT_S):
            while answers["topic"] == from_topic:
                await write(world, 5, f"again-{(number := number + 1)}-")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await topic.close()

    assert [one.position for one in seen] == list(range(1, len(seen) + 1))
    assert all(b.previous_hash == a.chain_hash for a, b in itertools.pairwise(seen))
    assert len(seen) > head.next_position


class Counted:
    """A place, and how many records it gave."""

    def __init__(self, place: Any, answers: dict[str, int]) -> None:
        self.name = place.name
        self.end = place.end
        self._place = place
        self._answers = answers
        answers[self.name] = 0

    async def read(self, position: int, *, bytes_max: int) -> Any:
        run = await self._place.read(position, bytes_max=bytes_max)
        self._answers[self.name] += len(run)
        return run


async def test_tail_search_and_export_give_what_was_asked(
    world: LaneWorld, server: KafkaServer, migrated_dsn: str, tmp_path: Path
) -> None:
    async with sequencing(world):
        await write(world, 12, "cli/")
        async with asyncio.timeout(WAIT_S):
            while await world.reader.pending_audit(limit=1):
                await asyncio.sleep(0.05)
    env = {
        **os.environ,
        "DATABASE_URL": migrated_dsn,
        "KAFKA_BOOTSTRAP_SERVERS": server.bootstrap_servers,
        "FILEFLUX_MASTER_KEY": "0" * 64,
    }
    bucket = world.bucket.bucket
    ours = ("--bucket", bucket, "--prefix", "cli/", "--operation", "CreateMultipartUpload")

    found = await command(env, "search", *ours, "--limit", "5", "--json")
    lines = [json.loads(line) for line in found.out.splitlines()]
    assert [line["data"]["key"] for line in lines] == [f"cli/{n}" for n in range(5)]
    assert f"--from {int(lines[-1]['position']) + 1}" in found.err
    rest = await command(env, "tail", "--from", str(int(lines[-1]["position"]) + 1), *ours)
    assert [line.split("/")[-1] for line in rest.out.splitlines()] == [f"{n}" for n in range(5, 12)]
    since = await command(env, "search", *ours, "--from", lines[3]["time"], "--json")
    assert json.loads(since.out.splitlines()[0])["position"] == lines[3]["position"]

    path = tmp_path / "all.jsonl"
    done = await command(env, "export", "--output", str(path), "--json")
    head = await world.reader.audit_head(STREAM)
    assert json.loads(done.out)["events"] == head.next_position - 1
    written = await asyncio.to_thread(path.read_text)
    assert [int(json.loads(line)["position"]) for line in written.splitlines()] == list(
        range(1, head.next_position)
    )
    piped = await command(env, "export", "--output", "-")
    assert piped.out == written
    again = await command(env, "export", "--output", str(path), code=1)
    assert "--force" in again.err


class Said:
    """What a command printed."""

    def __init__(self, out: bytes, err: bytes) -> None:
        self.out, self.err = out.decode(), err.decode()


async def command(env: dict[str, str], *arguments: str, code: int = 0) -> Said:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.console.cli", "audit", *arguments),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said = Said(*await process.communicate())
    assert process.returncode == code, (arguments, said.err)
    return said
