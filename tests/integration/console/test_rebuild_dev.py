"""A person loses the database, rebuilds it from the topic and the nodes, and has every object."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.bench.signing import Account
from tests.fault.s3_client import Answer, S3Client

from fileflux.console.processes import ProcessList

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SOON_S: Final = 150.0
"""A rebuild waits until the seals of the last change have expired."""
OBJECTS: Final = {
    "small": b"a few bytes",
    "empty": b"",
    "large": b"0123456789abcdef" * (9 << 16),
    "again": b"the second one",
    "schlüssel": b"not ASCII",
}


def fileflux(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "fileflux.console.cli", *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def dev(data_dir: Path, cache_dir: Path, **environment: str) -> Iterator[Mapping[str, Any]]:
    """Run `fileflux dev` on a directory; yield what it said."""
    where = ["--data-dir", str(data_dir), "--cache-dir", str(cache_dir), "--port", "0", "--json"]
    with (data_dir.parent / "dev.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fileflux.console.cli", "dev", *where],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **environment},
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (data_dir.parent / "dev.log").read_text()[-2_000:]
        yield json.loads(line)
    finally:
        process.kill()
        process.wait(SOON_S)
        process.stdout.close()
        ProcessList(data_dir / "run" / "processes.json").stop_leftovers()


def freeze(data_dir: Path, name: str) -> None:
    """Stop a service as a lost database would: it does nothing more, and nobody starts it again."""
    processes = ProcessList(data_dir / "run" / "processes.json").read()
    pids = [one.pid for one in processes if one.name.startswith(name)]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def ask(said: Mapping[str, Any], method: str, path: str, body: bytes = b"") -> Answer:
    host = said["endpoint"].partition("://")[2]
    account = Account(host, said["access_key"], said["secret_key"])

    async def once() -> Answer:
        client = S3Client(account)
        try:
            return await client.request(method, path, body=body)
        finally:
            await client.close()

    return asyncio.run(once())


def empty_database(admin_dsn: str) -> str:
    name = f"rebuilt_{uuid.uuid4().hex}"

    async def make() -> None:
        connection = await asyncpg.connect(admin_dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return urlunsplit(urlsplit(admin_dsn)._replace(path=f"/{name}"))


def test_a_lost_database_is_rebuilt_and_serves_every_object(
    server_dir: Path, cache_dir: Path, postgres_admin_dsn: str
) -> None:
    """The topic and the nodes are all that is left; the same stream goes on.

    What was deleted or replaced a moment before stays so: without settlements, a materializer that
    reads the seals again within their life would apply them again.
    """
    data_dir = server_dir / "rebuild-dev"
    into = empty_database(postgres_admin_dsn)
    with dev(data_dir, cache_dir) as said:
        assert ask(said, "PUT", "/album").status == 200
        for key, body in {"again": b"the first one", "gone": b"x", **OBJECTS}.items():
            assert ask(said, "PUT", f"/album/{key}", body).status == 200
        assert ask(said, "DELETE", "/album/gone").status == 204
        freeze(data_dir, "ingest")
        assert fileflux(data_dir, "audit", "verify", "--wait", "30")[0] == 0
        code, out, err = fileflux(data_dir, "rebuild", "--into", into, "--json")
        assert code == 0, err
        told = json.loads(out)
        assert [node["problem"] for node in told["nodes"]] == [None] * 3
        assert sum(node["bundles"] for node in told["nodes"]) > 0
        code, out, err = fileflux(data_dir, "diff", "album", "--json")
        changes = {json.loads(line)["key"]: json.loads(line) for line in out.splitlines()}
        assert (code, changes.keys()) == (0, OBJECTS.keys()), err
        assert changes["large"]["size_after"] == len(OBJECTS["large"])

    with dev(data_dir, cache_dir, DATABASE_URL=into) as said:
        for key, body in OBJECTS.items():
            answer = ask(said, "GET", f"/album/{key}")
            assert (answer.status, answer.body) == (200, body), key
        assert ask(said, "GET", "/album/gone").status == 404
        assert ask(said, "PUT", "/album/new", b"goes on").status == 200
        assert ask(said, "GET", "/album/new").body == b"goes on"
        code, out, err = fileflux(data_dir, "audit", "verify", "--json")
        assert code == 0, out + err
        assert json.loads(out)["topic"]["records"] > told["position"]
