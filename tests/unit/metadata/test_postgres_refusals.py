"""A database that does not let us in is one that does not answer: no record is poison for that."""

import random
from typing import Any

import asyncpg
import pytest

from fileflux.core.errors import MetadataBusy
from fileflux.metadata import postgres_pool
from fileflux.metadata.ports import Transaction
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.postgres_pool import Connections

REFUSALS = [
    asyncpg.InvalidPasswordError("password authentication failed"),  # 28P01
    asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),  # 28000
    asyncpg.InvalidCatalogNameError('database "fileflux" does not exist'),  # 3D000
]
refusals = pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: error.sqlstate)


class Refusing:
    """A pool whose server refuses every new connection."""

    def __init__(self, refusal: Exception) -> None:
        self._refusal = refusal

    async def acquire(self, *, timeout: float) -> Any:
        raise self._refusal


class Log:
    """What an operator reads."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def warning(self, event: str, *, cause: str) -> None:
        self.warnings.append((event, cause))


def _connections(refusal: Exception) -> Connections:
    return Connections(Refusing(refusal), is_cockroach=False)  # type: ignore[arg-type]


@refusals
async def test_a_writer_who_is_refused_tries_again_until_its_deadline(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    monkeypatch.setattr(postgres_pool, "log", log)
    database = PostgresDatabase(_connections(refusal), rng=random.Random(1))

    async def never(_transaction: Transaction) -> None:
        raise AssertionError

    with pytest.raises(MetadataBusy):
        await database.run(never, deadline_s=0.2)

    # Once in a while, however many ask.
    assert log.warnings == [("the database lets nobody in; trying again", str(refusal))]


@refusals
async def test_a_reader_who_is_refused_says_that_the_database_does_not_answer(
    refusal: Exception,
) -> None:
    with pytest.raises(MetadataBusy):
        await PostgresReader(_connections(refusal)).audit_head("main")


@refusals
async def test_a_start_that_is_refused_may_be_tried_again(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_dsn: str) -> bool:
        raise refusal

    monkeypatch.setattr(postgres_pool, "_is_cockroach", refuse)
    with pytest.raises(MetadataBusy, match=str(refusal).replace(".", r"\.")):
        await open_connections("postgresql://somewhere")
