"""The sequencer with an archive and a key, killed at every step; then Kafka is wiped as well."""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.model.archive_processes import LANES, WAIT_S, environment_of, metadata_process
from tests.model.lane_world import LaneWorld, open_world

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.core.errors import FileFluxError
from fileflux.events.kafka import KafkaBroker
from fileflux.events.topics import AUDIT, AUDIT_CHECKPOINTS
from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_blocks import ArchivedBlocks
from fileflux.metadata.archive_directory import DirectoryArchive
from fileflux.metadata.audit_keys import new_audit_key
from fileflux.metadata.audit_verify import Everywhere, verify_everywhere
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.ports import ArchiveHead
from fileflux.metadata.postgres import Connections, PostgresDatabase, PostgresReader
from fileflux.metadata.sequencer import STREAM

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
POINTS = (
    "sequencer.before_checkpoint",
    "sequencer.after_checkpoint",
    "archiver.before_put",
    "archive.before_link",
    "archiver.after_put",
    "archiver.before_put_checkpoints",
    "archiver.after_put_checkpoints",
    "archiver.before_drop",
    "archiver.after_move",
)
PER_KILL = 5
RECORDS = 2 + PER_KILL * len(POINTS)
"""A user and a bucket come first."""


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: it is wiped here."""
    made = KafkaServer(server_dir / "kafka-archive", cache_dir=cache_dir)
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
    seed = random.randrange(1 << 30)
    return await open_world(broker, database, reader, SystemClock(), lanes=LANES, seed=seed)


async def write(world: LaneWorld, count: int) -> None:
    """Commit that many changes: their records wait for the sequencer."""
    writer = DirectWriter(world.database, rng=random.Random())
    changes = [world.maker.create_multipart(world.bucket, b"k%d" % n) for n in range(count)]
    outcomes = await asyncio.gather(*(writer.submit(change) for change in changes))
    assert all(outcome.ok for outcome in outcomes)
    await writer.close()


async def until_archived(reader: PostgresReader) -> ArchiveHead:
    """Wait until all is archived, with its checkpoint, and has left but for the newest block."""
    async with asyncio.timeout(WAIT_S):
        while True:
            head, archived = await reader.audit_head(STREAM), await reader.archive_head(STREAM)
            last = await reader.last_checkpoint(STREAM)
            is_signed = last is not None and last.number + 1 == archived.next_checkpoint
            is_all = archived.next_position == head.next_position == RECORDS + 1
            kept = await reader.audit_blocks(STREAM, archived.kept_from, limit=2)
            if is_all and is_signed and len(kept) == 1:
                return archived
            await asyncio.sleep(0.2)


async def verified(world: LaneWorld, archive: Archive, connections: Connections) -> Everywhere:
    topic, signed = (
        await world.broker.source([(AUDIT, 0)]),
        await world.broker.source([(AUDIT_CHECKPOINTS, 0)]),
    )
    try:
        return await verify_everywhere(
            PostgresReader(connections, ArchivedBlocks(archive)),
            topic=topic,
            checkpoints=signed,
            archive=archive,
            stream=STREAM,
            keys=None,
            clock=SystemClock(),
            wait_s=WAIT_S,
        )
    finally:
        await topic.close()
        await signed.close()


async def test_killed_at_every_step_with_an_archive_nothing_is_lost_and_nothing_has_a_gap(
    world: LaneWorld,
    reader: PostgresReader,
    connections: Connections,
    migrated_dsn: str,
    server: KafkaServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """F1 and I9 for archive and checkpoints, then F6: all topics are gone and come back."""
    key = tmp_path / "key.pem"
    public = new_audit_key(key).public_key().public_bytes_raw().hex()
    archive = DirectoryArchive(tmp_path / "archive")
    url = f"file://{tmp_path}/archive"
    environment = environment_of(migrated_dsn, server.bootstrap_servers, url, key)
    killed = 0
    for point in POINTS:
        armed = environment | {"FILEFLUX_FAILPOINTS": f"{point}=kill"}
        async with metadata_process(armed) as made:
            await write(world, PER_KILL)
            async with asyncio.timeout(WAIT_S):
                killed += await made.wait() == -9
    async with metadata_process(environment):
        archived = await until_archived(reader)
        found = await verified(world, archive, connections)
        assert found.is_whole, found
        before = await _topic_values(world)

        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.wipe)
        await asyncio.to_thread(server.start)
        await _until_whole_again(world, archive, connections, archived)
        assert await _topic_values(world) == before, "not a byte is another one"

    assert killed == len(POINTS)
    assert archived.next_position - 1 == RECORDS
    _check_from_outside(tmp_path / "archive", public)
    with capsys.disabled():
        print(f"\nkilled {killed} times; {archived.next_position - 1} records, 0 lost, 0 doubled")


async def _topic_values(world: LaneWorld) -> list[bytes]:
    source = await world.broker.source([(AUDIT, 0)])
    try:
        first, end = await source.bounds(AUDIT, 0)
        await source.seek(AUDIT, 0, None)
        values: dict[int, bytes] = {}
        while len(values) < end - first:
            values |= {one.position.offset: one.value for one in await source.fetch()}
        unique = dict.fromkeys(values[offset] for offset in sorted(values))
        return list(unique)
    finally:
        await source.close()


async def _until_whole_again(
    world: LaneWorld, archive: Archive, connections: Connections, archived: ArchiveHead
) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(FileFluxError):
                found = await verified(world, archive, connections)
                is_full = found.topic.end.next_position == archived.next_position
                if found.is_whole and is_full and not found.topic.unpublished:
                    return
            await asyncio.sleep(0.5)


def _check_from_outside(archive: Path, public: str) -> None:
    script = ROOT / "examples/verify_audit.py"
    command = [sys.executable, "-I", str(script), "--json", "--key", public, str(archive)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["records"] == RECORDS
