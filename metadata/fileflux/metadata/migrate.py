"""Bring a database to this version's tables: forward only, one statement at a time.

CockroachDB commits before it changes a table, so a file is not one transaction: each statement can
be run again, and a file is noted as applied after its last one. A lease row keeps two runners
apart; one that died lets go by time. A database that is newer than this software is refused.
"""

import asyncio
import random
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import asyncpg

from fileflux.core.errors import Invalid, MetadataBusy
from fileflux.core.ids import new_id
from fileflux.core.telemetry import get_logger
from fileflux.metadata.postgres_pool import CONNECT_TIMEOUT_S, LOST, Connection
from fileflux.metadata.queries import statement, statements_of

log = get_logger(__name__)

LEASE: Final = "migrations"
LEASE_S: Final = 60
LEASE_POLL_S: Final = 0.2
STATEMENT_TIMEOUT_S: Final = 30.0
DUPLICATES: Final = frozenset({"23505", "42P07", "42710", "40001"})
"""Two runners that create the runner's own tables at once: the loser looks again."""
RUNNER_VERSION: Final = 0


class SchemaTooNew(Invalid):
    """The database was migrated by a newer FileFlux."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`. `statements`: in order, each may be run again."""

    version: int
    name: str
    statements: tuple[str, ...]


def migrations() -> list[Migration]:
    """Return every migration by version; 0 is what the runner itself needs."""
    folder = files(__package__).joinpath("migrations")
    paths = sorted((path for path in folder.iterdir() if path.name.endswith(".sql")), key=str)
    return [
        Migration(
            version=int(path.name[:4]),
            name=path.name.removesuffix(".sql"),
            statements=tuple(statements_of(path.read_text())),
        )
        for path in paths
    ]


async def migrate(dsn: str, *, rng: random.Random, deadline_s: float = 120.0) -> int:
    """Apply what is missing; return the schema's version.

    Raises SchemaTooNew, and MetadataBusy when the database or the lease cannot be had in time.
    """
    try:
        async with asyncio.timeout(deadline_s):
            connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
            try:
                return await _migrate(connection, new_id(rng))
            finally:
                await connection.close(timeout=CONNECT_TIMEOUT_S)
    except LOST as error:  # A deadline that passed is one of them.
        raise MetadataBusy(f"the database could not be migrated: {error}") from error


async def is_used(dsn: str) -> bool:
    """Tell whether a database holds anything of FileFlux's; raise MetadataBusy.

    Ask before migrating a database that should be empty, and may be the wrong one.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    except LOST as error:
        raise MetadataBusy(f"the database cannot be reached: {error}") from error
    try:
        return bool(await connection.fetchval(statement("holds_anything")))
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)


async def check_version(connection: Connection) -> None:
    """Raise Invalid with what to do unless the database has exactly this software's tables."""
    try:
        applied = await _applied_versions(connection)
    except asyncpg.UndefinedTableError:
        applied = set()
    _refuse_newer(applied)
    missing = [m.name for m in migrations() if m.version not in (*applied, RUNNER_VERSION)]
    if missing:
        raise Invalid(
            f"the database lacks {', '.join(missing)}: run `python -m fileflux.metadata migrate`"
        )


async def _migrate(connection: Connection, owner: bytes) -> int:
    runner, *files_in_order = migrations()
    await _create_runner_tables(connection, runner)
    _refuse_newer(await _applied_versions(connection))
    await _take_lease(connection, owner)
    try:
        applied = await _applied_versions(connection)
        for migration in files_in_order:
            if migration.version not in applied:
                await _apply(connection, migration, owner)
    finally:
        await connection.execute(statement("give_lease_back"), LEASE, owner)
    return files_in_order[-1].version


async def _create_runner_tables(connection: Connection, runner: Migration) -> None:
    for text in runner.statements:
        for is_last in (False, False, True):
            try:
                await connection.execute(text, timeout=STATEMENT_TIMEOUT_S)
                break
            except asyncpg.PostgresError as error:
                if is_last or error.sqlstate not in DUPLICATES:
                    raise
                await asyncio.sleep(LEASE_POLL_S)


async def _applied_versions(connection: Connection) -> set[int]:
    found = await connection.fetch(statement("schema_versions"))
    return {record["version"] for record in found}


def _refuse_newer(applied: set[int]) -> None:
    newest = migrations()[-1].version
    unknown = sorted(version for version in applied if version > newest)
    if unknown:
        raise SchemaTooNew(
            f"the database has version {unknown[-1]}, this FileFlux knows {newest}: "
            "start a newer FileFlux, or use another database"
        )


async def _take_lease(connection: Connection, owner: bytes) -> None:
    while await _lease_token(connection, owner) is None:
        log.info("waiting for another migration to end")
        await asyncio.sleep(LEASE_POLL_S)


async def _lease_token(connection: Connection, owner: bytes) -> int | None:
    token: int | None = await connection.fetchval(
        statement("take_lease"), LEASE, owner, LEASE_S * 1_000_000
    )
    return token


async def _apply(connection: Connection, migration: Migration, owner: bytes) -> None:
    for text in migration.statements:
        if await _lease_token(connection, owner) is None:
            raise MetadataBusy("the migrations' lease ran out: another runner goes on")
        await connection.execute(text, timeout=STATEMENT_TIMEOUT_S)
    await connection.execute(statement("add_schema_version"), migration.version, migration.name)
    log.info("migration applied", name=migration.name)
