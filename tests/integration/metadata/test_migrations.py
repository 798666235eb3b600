"""Migrations on a real database: again, side by side, and never backwards."""

import asyncio
import random

import asyncpg
import pytest

from fileflux.core.errors import Invalid
from fileflux.metadata.migrate import SchemaTooNew, check_version, migrate, migrations
from fileflux.metadata.queries import statements

NEWEST = migrations()[-1].version


async def _version(dsn: str) -> list[int]:
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch("SELECT version FROM schema_migrations ORDER BY version")
    finally:
        await connection.close()
    return [record["version"] for record in found]


async def test_an_empty_database_is_refused_with_what_to_do(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        with pytest.raises(Invalid, match=r"fileflux\.metadata migrate"):
            await check_version(connection)
    finally:
        await connection.close()


async def test_runners_side_by_side_and_again_leave_each_migration_applied_once(
    postgres_dsn: str,
) -> None:
    runs = [migrate(postgres_dsn, rng=random.Random(seed)) for seed in range(4)]

    assert await asyncio.gather(*runs) == [NEWEST] * 4
    assert await migrate(postgres_dsn, rng=random.Random(9)) == NEWEST
    assert await _version(postgres_dsn) == list(range(1, NEWEST + 1))


async def test_a_runner_that_died_holds_nobody_up_for_ever(postgres_dsn: str) -> None:
    await migrate(postgres_dsn, rng=random.Random(1))
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("DELETE FROM schema_migrations WHERE version = 4")
    await connection.execute(
        "UPDATE leases SET owner = 'dead', until_us = "
        "(extract(epoch FROM clock_timestamp()) * 1000000)::INT8 + 300000"
    )
    await connection.close()

    assert await migrate(postgres_dsn, rng=random.Random(2), deadline_s=20) == NEWEST
    assert await _version(postgres_dsn) == list(range(1, NEWEST + 1))


async def test_every_named_statement_fits_the_tables(postgres_dsn: str) -> None:
    await migrate(postgres_dsn, rng=random.Random(1))
    connection = await asyncpg.connect(postgres_dsn)
    for text in statements().values():
        await connection.prepare(text)
    await check_version(connection)
    await connection.close()


async def test_a_database_of_a_newer_version_is_refused_with_a_sentence(postgres_dsn: str) -> None:
    await migrate(postgres_dsn, rng=random.Random(1))
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("INSERT INTO schema_migrations VALUES (9999, 'from_the_future', 0)")
    with pytest.raises(SchemaTooNew, match="start a newer FileFlux"):
        await check_version(connection)
    await connection.close()

    with pytest.raises(SchemaTooNew, match="9999"):
        await migrate(postgres_dsn, rng=random.Random(1))
