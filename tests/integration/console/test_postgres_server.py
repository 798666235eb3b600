"""The database server that `fileflux dev` starts."""

import os
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fileflux.console.postgres_home import NoPostgresPrograms
from fileflux.console.postgres_server import PostgresServer, PostgresStartFailed

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(server_dir: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(server_dir / "own-postgres", password="päss/wörd?@")
    try:
        server.start()
    except NoPostgresPrograms as problem:
        pytest.skip(f"no PostgreSQL: {problem}")
    yield server
    server.stop()
    server.wipe()


async def test_committed_rows_survive_kill_9_and_a_restart(server: PostgresServer) -> None:
    await _execute(server.dsn, "CREATE TABLE kept (value bigint)", "INSERT INTO kept VALUES (7)")

    server.kill()
    server.start()

    assert await _value(server.dsn, "SELECT value FROM kept") == 7


@pytest.mark.parametrize("immediate", [False, True])
async def test_a_stop_and_a_second_start_reuse_the_directory(
    server: PostgresServer, immediate: bool
) -> None:
    before = server.dsn

    server.stop(immediate=immediate)
    server.start()

    assert server.dsn == before
    assert await _value(server.dsn, "SELECT value FROM kept") == 7


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("enable_seqscan", "off"),
        ("server_encoding", "UTF8"),
        ("unix_socket_directories", ""),
        ("listen_addresses", "127.0.0.1"),
    ],
)
async def test_settings_keep_the_promise(server: PostgresServer, setting: str, value: str) -> None:
    assert await _value(server.dsn, f"SHOW {setting}") == value


async def test_keys_sort_by_bytes(server: PostgresServer) -> None:
    collation = "SELECT datcollate FROM pg_database WHERE datname = current_database()"
    assert await _value(server.dsn, collation) == "C"


async def test_nobody_gets_in_without_the_password(server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.dsn, password="wrong")


def test_the_server_runs_without_privileges(server: PostgresServer) -> None:
    assert server.pid is not None
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    assert (server.data_dir / "data").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run it as")
def test_a_private_parent_directory_stays_private(tmp_path: Path) -> None:
    """A clone in /root: the data moves to a place of ours, nobody's home is opened."""
    tmp_path.chmod(0o700)
    server = PostgresServer(tmp_path / "deep" / "postgres")
    try:
        server.start()
        assert tmp_path.stat().st_mode & 0o777 == 0o700
    finally:
        server.wipe()
    assert not (server.data_dir / "elsewhere").is_symlink()


def test_a_port_that_is_taken_is_said_so(server: PostgresServer) -> None:
    second = PostgresServer(server.data_dir.parent / "second-postgres", port=server.port)

    with pytest.raises(PostgresStartFailed, match="in use"):
        second.start()

    assert server.is_running


async def test_each_module_gets_a_database_of_its_own(postgres_dsn: str) -> None:
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert await _value(postgres_dsn, tables) == 0


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
