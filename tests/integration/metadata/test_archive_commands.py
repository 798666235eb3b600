"""An archive in somebody else's S3, seen through the commands of an operator."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from tests.model.archive_processes import LANES, WAIT_S, environment_of, metadata_process
from tests.model.lane_world import open_world

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.core.clock import SystemClock
from fileflux.events.kafka import KafkaBroker
from fileflux.metadata.archive_s3 import S3Archive, open_s3_archive
from fileflux.metadata.audit_keys import new_audit_key
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader
from fileflux.metadata.sequencer import STREAM

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
KEYS = {"access_key": "access", "secret_key": "secret"}


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path) -> Iterator[KafkaServer]:
    """A broker of our own: a topic belongs to one database."""
    made = KafkaServer(server_dir / "kafka-commands", cache_dir=cache_dir)
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


@pytest.fixture
def outside_s3() -> Iterator[str]:
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


async def command(environment: Mapping[str, str], *words: str) -> tuple[int, str]:
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.console.cli", *words),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await made.communicate()
    assert made.returncode is not None
    return made.returncode, out.decode()


async def test_an_operator_archives_lists_verifies_and_gives_the_key_away(
    database: PostgresDatabase,
    reader: PostgresReader,
    migrated_dsn: str,
    server: KafkaServer,
    outside_s3: str,
    tmp_path: Path,
) -> None:
    public = new_audit_key(tmp_path / "key.pem").public_key().public_bytes_raw().hex()
    environment = {
        **environment_of(
            migrated_dsn, server.bootstrap_servers, "s3://outside/audit", tmp_path / "key.pem"
        ),
        "FILEFLUX_ARCHIVE_ENDPOINT": outside_s3,
        "FILEFLUX_ARCHIVE_ACCESS_KEY": KEYS["access_key"],
        "FILEFLUX_ARCHIVE_SECRET_KEY": KEYS["secret_key"],
        "FILEFLUX_MASTER_KEY": "00" * 32,
    }
    opened = open_s3_archive("outside", "audit/", endpoint=outside_s3, region="us-east-1", **KEYS)
    async with opened as archive:
        await archive._client.create_bucket(Bucket="outside")
        await _numbered_and_signed(database, reader, server, environment)
        await _run_until_archived(archive, environment)
        await _asked(environment, public)
        assert await archive.names("probes/") == []
        await _broken(archive, environment)


async def _numbered_and_signed(
    database: PostgresDatabase,
    reader: PostgresReader,
    server: KafkaServer,
    environment: Mapping[str, str],
) -> None:
    """Run the processes, without the archive, until a checkpoint covers all that was written."""
    clock = SystemClock()
    broker = KafkaBroker(server.bootstrap_servers, lanes=LANES, slots=1, clock=clock)
    await broker.ensure_topics()
    seed = random.randrange(1 << 30)
    await open_world(broker, database, reader, clock, lanes=LANES, seed=seed)
    async with (
        metadata_process({**environment, "FILEFLUX_ARCHIVE_URL": ""}),
        asyncio.timeout(WAIT_S),
    ):
        while True:
            head, last = await reader.audit_head(STREAM), await reader.last_checkpoint(STREAM)
            if last is not None and last.position == head.next_position - 1 == 2:
                break
            await asyncio.sleep(0.1)
    await broker.close()


async def _run_until_archived(archive: S3Archive, environment: Mapping[str, str]) -> None:
    """`archive run` is the service; without an archive it says what to set."""
    without = {**environment, "FILEFLUX_ARCHIVE_URL": ""}
    code, out = await command(without, "archive", "run")
    assert (code, "set FILEFLUX_ARCHIVE_URL" in out) == (1, True), out
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.console.cli", "archive", "run"),
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(WAIT_S):
        while not await archive.names("main/checkpoints/"):
            await asyncio.sleep(0.1)
        made.terminate()
        assert await made.wait() == 0


async def _asked(environment: Mapping[str, str], public: str) -> None:
    code, out = await command(environment, "archive", "run", "--once", "--json")
    assert (code, out) == (0, '{"archived_to": 2, "kept_from": 1}\n')
    code, out = await command(environment, "archive", "list")
    assert code == 0, out
    assert "upto-00000000000000000002-from-00000000000000000001.jsonl.gz" in out
    await _snapshot(environment)
    code, out = await command(environment, "audit", "verify", "--json", "--key", public)
    found = json.loads(out)
    assert code == 0, out
    places = ("database", "topic", "archive", "checkpoints")
    assert [found[place]["records"] for place in places] == [2, 2, 2, 1]
    assert found["checkpoints"]["signed_to"] == 2
    code, out = await command(environment, "audit", "key", "public", "--json")
    assert (code, [key["key"] for key in json.loads(out)["keys"]]) == (0, [public])


async def _snapshot(environment: Mapping[str, str]) -> None:
    code, out = await command(environment, "snapshot", "create", "--json")
    made = json.loads(out)
    assert (code, made["position"], made["whole_at"], made["archived_to"]) == (0, 2, 2, 2)
    code, out = await command(environment, "snapshot", "list", "--json")
    (found,) = json.loads(out)["snapshots"]
    assert (code, found["name"], found["problem"]) == (0, made["name"], None)


async def _broken(archive: S3Archive, environment: Mapping[str, str]) -> None:
    """1 when it is broken, until it is written again; 3 when nobody can say."""
    (name,) = await archive.names("main/segments/")
    await archive.remove(f"audit/{name}")
    code, out = await command(environment, "audit", "verify")
    assert code == 1, out
    assert "position 1: missing" in out
    code, out = await command(environment, "archive", "run", "--once", "--again", "--json")
    assert (code, out) == (0, '{"archived_to": 2, "kept_from": 1}\n')
    code, out = await command(environment, "audit", "verify")
    assert (code, "broken" in out) == (0, False), out
    gone = {**environment, "DATABASE_URL": "postgresql://x:y@127.0.0.1:9/none"}
    code, out = await command(gone, "audit", "verify")
    assert (code, "cannot:" in out) == (3, True)
