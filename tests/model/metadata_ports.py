"""One database behind both ports, for suites that run on every implementation of them."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.model.metadata_changes import ACTOR, AT_US, Maker

from fileflux.core.changes import Change, CreateBucket, CreateUser, Outcome
from fileflux.core.ids import UserId
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import Database, MetadataReader, Transaction
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.metadata.rows import Writes
from fileflux.metadata.seals import AcceptedSeal


@dataclass(frozen=True)
class Metadata:
    """`name`: of a user and a prefix of bucket names that no other test of the module has."""

    database: Database
    reader: MetadataReader
    maker: Maker
    name: str
    user_id: UserId

    async def do(self, *changes: Change, seals: Sequence[AcceptedSeal] = ()) -> list[Outcome]:
        """Decide and store changes as one batch."""
        _, outcomes = await self.decide(*changes, seals=seals)
        return outcomes

    async def decide(
        self, *changes: Change, seals: Sequence[AcceptedSeal] = ()
    ) -> tuple[Writes, list[Outcome]]:
        async def work(transaction: Transaction) -> tuple[Writes, list[Outcome]]:
            rows = await transaction.load_rows(footprint(changes))
            writes, outcomes = apply(rows, changes, seals=seals)
            await transaction.store_writes(writes)
            return writes, list(outcomes)

        return await self.database.run(work)

    def user(self, name: str = "") -> CreateUser:
        user_id = UserId(self.maker.id()) if name else self.user_id
        return self.maker.user(self.name + name, user_id)

    def bucket(self, name: str = "") -> CreateBucket:
        given = self.maker.bucket(self.name + name)
        return CreateBucket(
            upload_id=given.upload_id,
            actor=ACTOR,
            at_us=AT_US,
            bucket_id=given.bucket_id,
            bucket=given.bucket,
            owner_id=self.user_id,
            storage_class="standard",
        )

    async def made_bucket(self, name: str = "") -> CreateBucket:
        """Return a bucket that exists; its owner was made with the first one."""
        bucket = self.bucket(name)
        outcomes = await self.do(*([] if name else [self.user()]), bucket)
        assert all(outcome.ok for outcome in outcomes)
        return bucket


def make_metadata(database: Database, reader: MetadataReader) -> Metadata:
    """Return a database with names of its own: suites share a real one."""
    seed = random.SystemRandom().randrange(1 << 48)
    maker = Maker(seed)
    return Metadata(database, reader, maker, f"t{seed:x}-", UserId(maker.id()))


@asynccontextmanager
async def memory_metadata() -> AsyncIterator[Metadata]:
    database = MemoryDatabase()
    yield make_metadata(database, MemoryReader(database))


@asynccontextmanager
async def postgres_metadata(dsn: str) -> AsyncIterator[Metadata]:
    """`dsn`: of a database that is migrated."""
    connections = await open_connections(dsn, size_max=8)
    database = PostgresDatabase(connections, rng=random.Random(1))
    yield make_metadata(database, PostgresReader(connections))
    await connections.close()
