"""Transactions that fail half-way: serialization failures, lost commits, cancelled callers (F9)."""

import asyncio
import random
from collections import Counter
from typing import Any

import asyncpg
import pytest
from tests.model.metadata_changes import Maker

from fileflux.core.changes import Change, CreateBucket, Outcome
from fileflux.core.errors import MetadataBusy, SettlementUnknown
from fileflux.core.ids import SealId
from fileflux.core.model import Manifest
from fileflux.core.telemetry import DATABASE_AMBIGUOUS, DATABASE_RETRIES
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.ports import Transaction
from fileflux.metadata.postgres import Connections, PostgresDatabase, PostgresReader
from fileflux.metadata.rows import Settlement
from fileflux.metadata.settle import abort_seal, find_settlement

WRITERS = 4
CHANGES_EACH = 400
RETRIED = 0.2
AMBIGUOUS = 0.05


class ShakyConnections:
    """A pool whose commits fail: with 40001, or without an answer, applied or not."""

    def __init__(self, connections: Connections, rng: random.Random) -> None:
        self._connections = connections
        self.rng = rng
        self.counts: Counter[str] = Counter()

    async def take(self) -> Any:
        return _Shaky(await self._connections.take(), self)

    async def give_back(self, connection: Any) -> None:
        await self._connections.give_back(connection.real)

    async def abandon(self, connection: Any) -> None:
        await self._connections.abandon(connection.real)

    async def close(self) -> None:
        await self._connections.close()


class _Shaky:
    def __init__(self, real: Any, owner: ShakyConnections) -> None:
        self.real = real
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def execute(self, text: str) -> str:
        if text != "COMMIT":
            return str(await self.real.execute(text))
        self._owner.counts["commits"] += 1
        draw = self._owner.rng.random()
        if draw < RETRIED:
            self._owner.counts["40001"] += 1
            raise asyncpg.SerializationError("injected")
        if draw >= RETRIED + AMBIGUOUS:
            return str(await self.real.execute(text))
        if draw < RETRIED + AMBIGUOUS / 2:
            self._owner.counts["applied without an answer"] += 1
            await self.real.execute(text)
        else:
            self._owner.counts["not applied, without an answer"] += 1
        self.real.terminate()
        raise asyncpg.ConnectionDoesNotExistError("injected")


async def _records(reader: PostgresReader) -> Counter[bytes]:
    blocks = await reader.pending_audit(limit=1_000_000)
    return Counter(
        decode_record(record.payload).record_id
        for _, _, payload in blocks
        for record in unpack_pending(payload)
    )


async def _submit_many(
    writer: DirectWriter, maker: Maker, bucket: CreateBucket, rng: random.Random
) -> list[tuple[Change, Outcome]]:
    """Write empty objects and delete them, several at once, on keys that everybody uses."""
    done: list[tuple[Change, Outcome]] = []

    async def one(_: int) -> None:
        key = b"key-%d" % rng.randrange(20)
        if rng.random() < 0.7:
            change: Change = maker.put(bucket, key, manifest=Manifest(), size=0)
        else:
            change = maker.delete(bucket, key)
        done.append((change, await writer.submit(change)))

    for start in range(0, CHANGES_EACH, 8):
        await asyncio.gather(*(one(n) for n in range(start, start + 8)))
    return done


async def test_every_change_has_one_effect_though_commits_fail_and_answers_get_lost(
    connections: Connections, reader: PostgresReader, capsys: pytest.CaptureFixture[str]
) -> None:
    """F9: 40001 at 20 %, commits without an answer at 5 %; one record per change that was done."""
    shaky = ShakyConnections(connections, random.Random(3))
    database = PostgresDatabase(shaky, rng=random.Random(4))  # type: ignore[arg-type]
    maker = Maker(1)
    first = DirectWriter(database, rng=random.Random(5))
    bucket = maker.bucket("shaky")
    assert [(await first.submit(c)).status for c in (maker.user(), bucket)] == ["ok", "ok"]
    writers = [DirectWriter(database, rng=random.Random(10 + n)) for n in range(WRITERS)]
    done = await asyncio.gather(
        *(
            _submit_many(writer, Maker(100 + n), bucket, random.Random(n))
            for n, writer in enumerate(writers)
        )
    )

    answered = [pair for pairs in done for pair in pairs]
    records = await _records(reader)
    statuses = Counter(outcome.status for _, outcome in answered)
    puts = {c.upload_id for c, o in answered if o.ok and o.version_id == c.upload_id}
    assert len(answered) == WRITERS * CHANGES_EACH
    assert statuses == {"ok": len(answered)}
    assert max(records.values()) == 1
    assert puts <= records.keys()
    assert shaky.counts["applied without an answer"] > 5
    assert shaky.counts["not applied, without an answer"] > 5
    with capsys.disabled():
        print(f"\nF9: {len(answered)} changes, {dict(shaky.counts)}, 0 lost, 0 doubled")


async def test_a_seal_that_everybody_aborts_at_once_has_one_settlement(
    connections: Connections,
) -> None:
    shaky = ShakyConnections(connections, random.Random(8))
    database = PostgresDatabase(shaky, rng=random.Random(9))  # type: ignore[arg-type]
    maker = Maker(2)
    for _ in range(10):
        seal_id, uploads = SealId(maker.id()), [maker.id(), maker.id()]
        settled = await asyncio.gather(*(abort_seal(database, seal_id, uploads) for _ in range(6)))

        assert [one.settled_us for one in settled] == [settled[0].settled_us] * 6
        assert await find_settlement(database, seal_id) == settled[0]


async def test_old_settlements_and_floors_of_a_slice_are_forgotten(
    database: PostgresDatabase, connections: Connections
) -> None:
    maker = Maker(7)
    ids = [SealId(bytes((first,)) + maker.id()[1:]) for first in (0x10, 0x20)]
    settled = [await abort_seal(database, seal_id, []) for seal_id in ids]
    horizon_us = settled[-1].settled_us + 1
    connection = await connections.take()
    await connection.execute("INSERT INTO floors VALUES ('objects', '\\x10aa', 5)")
    await database.run(lambda tx: tx.forget(b"\x10", b"\x11", before_us=horizon_us))
    floors = await connection.fetchval("SELECT count(*) FROM floors WHERE key = '\\x10aa'")
    await connections.give_back(connection)

    assert await find_settlement(database, ids[0]) is None
    assert await find_settlement(database, ids[1]) == settled[1]
    assert floors == 0


async def test_a_serialization_failure_runs_the_work_again_from_its_beginning(
    database: PostgresDatabase,
) -> None:
    """Two transactions that read each other's absence cannot both be right."""
    maker = Maker(3)
    ids = [SealId(maker.id()), SealId(maker.id())]
    both_read = asyncio.Barrier(2)
    attempts: Counter[int] = Counter()

    async def write(number: int) -> bool:
        async def work(transaction: Transaction) -> bool:
            attempts[number] += 1
            found = await transaction.load_settlements(ids)
            if sum(attempts.values()) <= 2:
                await both_read.wait()
            if found:
                return False
            now_us = await transaction.clock_us()
            await transaction.store_settlements([Settlement(
                seal_id=ids[number], outcomes=(), aborted=True, settled_us=now_us
            )])  # fmt: skip
            return True

        return await database.run(work)

    before = DATABASE_RETRIES.labels("40001")._value.get()
    assert sorted(await asyncio.gather(write(0), write(1))) == [False, True]
    assert DATABASE_RETRIES.labels("40001")._value.get() > before


async def test_a_server_that_dies_between_two_statements_is_a_lost_connection(
    database: PostgresDatabase,
) -> None:
    """Seen when PostgreSQL was killed under load: its farewell leaves asyncpg in a state of its
    own, and a DELETE was answered 500.
    """
    attempts = 0

    async def work(_: Transaction) -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise asyncpg.InternalClientError("another operation (2) is in progress")
        return attempts

    assert await database.run(work, settled=None) == 2


async def test_a_cancelled_caller_leaves_no_open_transaction_behind(
    database: PostgresDatabase, connections: Connections
) -> None:
    maker = Maker(4)
    seal_id = SealId(maker.id())
    stored = asyncio.Event()

    async def work(transaction: Transaction) -> None:
        now_us = await transaction.clock_us()
        await transaction.store_settlements([Settlement(
            seal_id=seal_id, outcomes=(), aborted=True, settled_us=now_us
        )])  # fmt: skip
        await transaction.load_settlements([])
        stored.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(database.run(work))
    await stored.wait()
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert await find_settlement(database, seal_id) is None
    taken = [await connections.take() for _ in range(8)]
    assert not any(connection.is_in_transaction() for connection in taken)
    for connection in taken:
        await connections.give_back(connection)


async def test_a_lost_commit_that_nobody_can_ask_about_is_unknown_and_not_a_guess(
    connections: Connections,
) -> None:
    shaky = ShakyConnections(connections, random.Random(8))
    shaky.rng = _Always(RETRIED + 0.001)
    database = PostgresDatabase(shaky, rng=random.Random(9))  # type: ignore[arg-type]

    async def work(transaction: Transaction) -> int:
        return await transaction.clock_us()

    before = DATABASE_AMBIGUOUS._value.get()
    with pytest.raises(SettlementUnknown):
        await database.run(work)
    assert DATABASE_AMBIGUOUS._value.get() == before + 1


async def test_a_transaction_that_cannot_be_committed_in_time_is_busy(
    connections: Connections,
) -> None:
    shaky = ShakyConnections(connections, random.Random(8))
    shaky.rng = _Always(0.0)
    database = PostgresDatabase(shaky, rng=random.Random(9))  # type: ignore[arg-type]

    async def work(transaction: Transaction) -> int:
        return await transaction.clock_us()

    with pytest.raises(MetadataBusy):
        await database.run(work, deadline_s=0.5)


class _Always(random.Random):
    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value
