"""`fileflux rebuild` between a real broker and real databases, killed, and continued."""

import asyncio
import contextlib
import json
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.bench.rebuild import write_export
from tests.model.lane_world import NODES, LaneWorld, open_world
from tests.model.metadata_changes import Maker
from tests.model.rebuild_world import storm, write

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.events.kafka import KafkaBroker
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_log import read_topic, verify
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.digest import differences, digest_of
from fileflux.metadata.materializer import Materializer
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.postgres_snapshot import open_snapshot
from fileflux.metadata.rebuild_target import RebuildRefused, refuse_unfinished
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
WAIT_S = 60.0
COMMAND_S = 150.0
"""A rebuild waits until the seals of the last change have expired."""
Databases = Callable[[], Awaitable[str]]


@pytest.fixture(scope="module")
def kafka(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: its audit topic belongs to one database."""
    made = KafkaServer(server_dir / "kafka-rebuild", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
async def empty_database(postgres_admin_dsn: str) -> Databases:
    """Return what makes another empty database."""

    async def make() -> str:
        name = f"rebuilt_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(postgres_admin_dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return urlunsplit(urlsplit(postgres_admin_dsn)._replace(path=f"/{name}"))

    return make


@contextlib.asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[tuple[PostgresDatabase, PostgresReader]]:
    connections = await open_connections(dsn, size_max=4)
    yield PostgresDatabase(connections, rng=random.Random(1)), PostgresReader(connections)
    await connections.close()


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


async def fileflux(*arguments: str, kafka: str = "", failpoints: str = "") -> tuple[int, str, str]:
    """Run a command; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.console.cli", *arguments),
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka, "FILEFLUX_FAILPOINTS": failpoints},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(COMMAND_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def sequencer_process(dsn: str) -> tuple[int | None, str]:
    """Start a sequencer of its own that has to end by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.metadata", "sequencer"),
        env={**os.environ, "DATABASE_URL": dsn, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        _, err = await process.communicate()
    return process.returncode, err.decode()


async def sequencer_of(
    broker: KafkaBroker, database: PostgresDatabase, reader: PostgresReader
) -> Sequencer:
    publisher = AuditPublisher(
        reader=reader,
        broker=broker,
        publisher=await broker.safe_publisher(),
        source=await broker.lookup(),
        clock=SystemClock(),
        stream=STREAM,
    )
    return Sequencer(
        SequencerDependencies(
            database=database, reader=reader, publisher=publisher, clock=SystemClock()
        )
    )


async def until_published(broker: KafkaBroker, reader: PostgresReader) -> int:
    """Wait until everything is numbered and on the topic; return how many records there are."""
    lookup = await broker.source([(AUDIT, 0)])
    async with asyncio.timeout(WAIT_S):
        while True:
            waiting = await reader.pending_audit(limit=1)
            head = await reader.audit_head(STREAM)
            _, end = await lookup.bounds(AUDIT, 0)
            if not waiting and end >= head.next_position - 1:
                break
            await asyncio.sleep(0.1)
    await lookup.close()
    return head.next_position - 1


async def uploads(world: LaneWorld, count: int) -> None:
    """Write through the pipeline: sealed, committed by nodes, settled."""
    seals = [await world.upload(b"up-%d" % n, b"shared", lane=n % 2) for n in range(count)]
    await world.emit(*seals)
    for seal in seals:
        await world.confirm(seal, *NODES)
    async with asyncio.timeout(WAIT_S):
        while None in [await world.statuses(seal) for seal in seals]:
            await asyncio.sleep(0.1)


async def test_a_database_rebuilt_from_the_topic_is_the_same_and_goes_on(
    kafka: KafkaServer, migrated_dsn: str, empty_database: Databases
) -> None:
    """Write, lose the database, rebuild, compare every row, continue the very same stream."""
    broker = KafkaBroker(kafka.bootstrap_servers, lanes=2, slots=1, clock=SystemClock())
    await broker.ensure_topics()
    into = await empty_database()
    async with opened(migrated_dsn) as (database, reader):
        world = await open_world(broker, database, reader, SystemClock(), lanes=2, seed=7)
        async with running(
            await sequencer_of(broker, database, reader), await world.materializer()
        ):
            await storm(database, reader, seed=11, count=60, numbers=False)
            await uploads(world, 20)
            count = await until_published(broker, reader)
        usage = await reader.usage_of([world.bucket.bucket_id])
        nodes = (await reader.find_objects([(world.bucket.bucket, b"up-3")]))[0].replicas

    options = ("--into", into, "--no-nodes", "--json")
    code, out, err = await fileflux("rebuild", *options, kafka=kafka.bootstrap_servers)
    assert code == 0, err
    assert (json.loads(out)["records"], json.loads(out)["position"]) == (count, count)
    code, out, _ = await fileflux("digest", "--compare", migrated_dsn, into)
    assert (code, out.splitlines()[0]) == (0, "every row is the same")

    async with opened(into) as (database, reader):
        assert await reader.usage_of([world.bucket.bucket_id]) == usage
        found = (await reader.find_objects([(world.bucket.bucket, b"up-3")]))[0].replicas
        # Those seen before it settled. Later ones stand in no record: the inventories tell them.
        assert found.keys() == nodes.keys()
        assert all(set() < set(found[bundle]) <= set(nodes[bundle]) for bundle in nodes)
        async with running(await sequencer_of(broker, database, reader)):
            await write(database, *(world.maker.put(world.bucket, b"new-%d" % n) for n in range(9)))
            assert await until_published(broker, reader) == count + 9
        head = await reader.audit_head(STREAM)
        source = await broker.source([(AUDIT, 0)])
        topic = await verify(read_topic(source), head=head)
        await source.close()
        assert (topic.faults, topic.record_count) == ((), count + 9)
    await broker.close()


async def test_a_rebuild_that_is_killed_after_every_batch_ends_the_same(
    empty_database: Databases, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    write_export(path, 13_000)
    whole, killed = await empty_database(), await empty_database()
    options = ("--no-nodes", "--json", "--from-file", str(path))
    code, _, err = await fileflux("rebuild", "--into", whole, *options)
    assert code == 0, err
    kills = 0
    for point in ("after_batch", "before_batch@2", "after_batch", "before_batch@2", ""):
        failpoints = f"rebuild.{point}=kill".replace("@2=kill", "=kill@2") if point else ""
        code, out, err = await fileflux(
            "rebuild", "--into", killed, *options, failpoints=failpoints
        )
        kills += code == -9
        if code != 0:
            async with opened(killed) as (_, reader):
                with pytest.raises(RebuildRefused, match="being rebuilt"):
                    await refuse_unfinished(reader)
        if kills == 1:
            ended, said = await sequencer_process(killed)
            assert (ended, "being rebuilt" in said) == (1, True), said
    assert kills >= 2
    assert code == 0, err
    assert json.loads(out)["records"] < json.loads(out)["position"]
    async with open_snapshot(whole) as one, open_snapshot(killed) as other:
        assert [d async for d in differences(one, other)] == []
        ours, theirs = await digest_of(one), await digest_of(other)
        assert ours.head.chain_hash == theirs.head.chain_hash


async def test_a_database_in_use_is_refused_and_left_as_it_is(
    empty_database: Databases, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    write_export(path, 200)
    into = await empty_database()
    options = ("--into", into, "--no-nodes", "--from-file", str(path))
    assert (await fileflux("rebuild", *options, "--until", "100"))[0] == 0
    async with open_snapshot(into) as snapshot:
        before = await digest_of(snapshot)
    code, out, err = await fileflux("rebuild", *options)

    assert (code, out) == (1, "")
    assert "rebuilt already, up to position 100" in err
    async with open_snapshot(into) as snapshot:
        assert await digest_of(snapshot) == before
    async with opened(into) as (database, _):
        await write(database, Maker(9).user("zoe", Maker(10).id()))
    code, _, err = await fileflux("rebuild", *options)
    assert (code, "cannot: " in err) == (1, True)


async def test_a_comparison_names_the_row_that_differs(
    empty_database: Databases, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    write_export(path, 60)
    one, other = await empty_database(), await empty_database()
    for dsn, until in ((one, "60"), (other, "59")):
        arguments = ("--into", dsn, "--no-nodes", "--from-file", str(path), "--until", until)
        assert (await fileflux("rebuild", *arguments))[0] == 0
    code, out, _ = await fileflux("digest", "--compare", one, other, "--json")

    told = json.loads(out)
    assert code == 1
    assert (told["positions"], told["counts"]) == ([60, 59], {"objects": 1})
    assert told["differences"][0]["table"] == "objects"
    code, out, _ = await fileflux("digest", "--dsn", one, "--json")
    assert (code, json.loads(out)["position"]) == (0, 60)


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("--until", "yesterday"), 2, "neither a position"),
        (("--until", "0"), 2, "positions begin with 1"),
        (("--node", "nonsense"), 2, "is not ID=URL"),
        (("--from-database", "postgresql://other"), 2, "exclude each other"),
        (("--until", "5000"), 1, "ends at position 50"),
        (("--until", "2999-01-01T00:00:00Z"), 1, "in the future"),
    ],
)
async def test_a_wrong_question_is_answered_with_what_to_do(
    empty_database: Databases, tmp_path: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    path = tmp_path / "audit.jsonl"
    write_export(path, 50)
    into = await empty_database()
    options = ("--into", into, "--no-nodes", "--from-file", str(path))
    ended, out, err = await fileflux("rebuild", *options, *arguments)

    assert (ended, out) == (code, "")
    assert why in " ".join(err.replace("│", " ").split())
