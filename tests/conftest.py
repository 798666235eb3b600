"""Real servers for tests: started once, when the first test asks, and stopped at the end.

`KAFKA_BOOTSTRAP_SERVERS` and `DATABASE_URL` name servers to use instead. Where a server cannot be
had the test is skipped and says why; under `CI=true` that is a failure, since a check that did not
run is not a check that passed.
"""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.console.postgres_home import NoPostgresPrograms
from fileflux.console.postgres_server import PostgresServer

# The machine may be busy with another suite: how long an example takes says nothing.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

collect_ignore = ["s3"]
"""Run by the clients' own Python, against a running system: `make test-s3`."""
ROOT: Final = Path(__file__).parents[1]
NEEDS: Final = ("kafka", "postgres", "zfs", "cluster", "clients", "sqlcheck")
"""Markers of what `.ci/run` has to provide."""
MARKER_OF_FIXTURE: Final = {
    "kafka_bootstrap": "kafka",
    "postgres_dsn": "postgres",
    "postgres_admin_dsn": "postgres",
}


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where downloads stay between runs."""
    return Path(os.environ.get("FILEFLUX_CACHE_DIR") or ROOT / ".cache").absolute()


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """A directory that servers under another user can walk into; pytest's own is private."""
    directory = Path(tempfile.mkdtemp(prefix="fileflux-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_bootstrap(server_dir: Path, cache_dir: Path) -> Iterator[str]:
    """A broker for the whole run: tests share it and choose topic names of their own."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    server = KafkaServer(server_dir / "kafka", cache_dir=cache_dir)
    try:
        server.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network, or KAFKA_BOOTSTRAP_SERVERS")
    yield server.bootstrap_servers
    server.stop()


@pytest.fixture(scope="session")
def postgres_admin_dsn(server_dir: Path) -> Iterator[str]:
    """A server for the whole run. Tests ask for `postgres_dsn`, unless databases are the point."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    server = PostgresServer(server_dir / "postgres")
    try:
        server.start()
    except NoPostgresPrograms as problem:
        pytest.skip(f"no PostgreSQL: {problem}")
    yield server.dsn
    server.stop()
    server.wipe()


@pytest.fixture(scope="module")
def postgres_dsn(postgres_admin_dsn: str) -> str:
    """An empty database for this module; it goes with the server."""
    name = f"test_{uuid.uuid4().hex}"
    _in_a_thread(lambda: asyncio.run(_execute(postgres_admin_dsn, f"CREATE DATABASE {name}")))
    return urlunsplit(urlsplit(postgres_admin_dsn)._replace(path=f"/{name}"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _in_a_thread(function: Callable[[], Any]) -> Any:
    """asyncio.run here would take the event loop away from pytest-asyncio."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for a server is marked as needing it."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKER_OF_FIXTURE:
                item.add_marker(MARKER_OF_FIXTURE[fixture])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    needed = [name for name in NEEDS if item.get_closest_marker(name)]
    if _is_ci() and report.skipped and needed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI, which has to provide {needed}: {report.longrepr}"
    return report


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"
