"""A dispatcher of webhooks on a real database, with a topic in memory and receivers that obey."""

import asyncio
import json
import random
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.model.webhook_rows import BUCKET_ID, audit_record, subscription

from fileflux.events.audit import to_cloudevent
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import Broker
from fileflux.events.topics import AUDIT
from fileflux.metadata.chain import NumberedRecord, number_blocks, unpack_block
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.ports import Transaction
from fileflux.metadata.postgres import Connections, PostgresDatabase, PostgresReader
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.webhook_rows import Subscription
from fileflux.webhooks.dispatcher import Dispatcher, DispatcherDependencies
from fileflux.webhooks.retry import Result
from fileflux.webhooks.signing import new_secret

MASTER_KEY = bytes(range(32))
WAIT_S = 30.0
DAY_S = 24 * 3_600
_FRAME = struct.Struct(">16sI")


class FastClock:
    """Hours pass in seconds: `scale` seconds for each real one."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._start_s = time.monotonic()

    def now_us(self) -> int:
        return 1_800_000_000_000_000 + int(self.monotonic_s() * 1_000_000)

    def monotonic_s(self) -> float:
        return (time.monotonic() - self._start_s) * self._scale

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._scale)


class Receivers:
    """The port `Sender`: every URL is a receiver. `answer(url, key)` says what it does."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, int]] = []
        self.attempts: list[tuple[str, Mapping[str, str], bytes]] = []
        self.answer: Callable[[str, str], Awaitable[int]] = _always_well

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        self.attempts.append((url, headers, body))
        key, sequencer = _key_of(body)
        status = await self.answer(url, key)
        if 200 <= status < 300:
            self.taken.append((url, key, sequencer))
        return Result(status=status, latency_us=1_000)

    def keys(self, url: str) -> list[str]:
        return [key for taken, key, _ in self.taken if taken == url]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.attempts]


async def _always_well(url: str, key: str) -> int:
    return 204


def _key_of(body: bytes) -> tuple[str, int]:
    records = json.loads(body).get("Records")
    if not records:
        return "", 0
    found = records[0]["s3"]["object"]
    return found["key"], int(found["sequencer"], 16)


class WebhookWorld:
    """Who subscribes, what happens, who dispatches."""

    def __init__(
        self, connections: Connections, *, scale: float = 1.0, broker: Broker | None = None
    ) -> None:
        self.clock = FastClock(scale)
        self.store = PostgresWebhooks(connections)
        self.reader = PostgresReader(connections)
        self.database = PostgresDatabase(connections, rng=random.Random(1))
        self.memory = MemoryBroker(clock=self.clock, lanes=1)
        self.broker: Broker = broker or self.memory
        self.receivers = Receivers()
        self.secrets: dict[bytes, str] = {}
        self._connections = connections

    async def reset(self) -> None:
        """Forget what another test left in the database."""
        connection = await self._connections.take()
        for table in (
            *("webhook_subscriptions", "webhook_deliveries", "webhook_dead_letters"),
            *("webhook_attempts", "webhook_cursors", "webhook_replays", "leases"),
            *("audit_blocks", "sequencer_heads", "bucket_sequences"),
            *("webhook_destinations", "webhook_marks"),
        ):
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608
        await self._connections.give_back(connection)

    async def subscribe(self, url: str = "https://a.example/", **changed: Any) -> Subscription:
        one = subscription(url=url, **changed)
        secret = new_secret()
        stored = encrypt_secret(MASTER_KEY, one.subscription_id.hex(), secret)
        self.secrets[one.subscription_id] = secret
        one = replace(one, secret=stored)
        await self.store.put_subscription(one)
        return one

    async def happen(self, *keys: str, publish: bool = True) -> list[NumberedRecord]:
        """Number an object's creation for each key, and publish it."""
        head = await self.reader.audit_head(STREAM)
        pieces = [b"\x01"]
        for n, key in enumerate(keys):
            raw = audit_record(head.next_position + n, key.encode(), size=1, etag="e").payload
            pieces += (_FRAME.pack(BUCKET_ID, len(raw)), raw)
        sequences = await self.reader.bucket_sequences([BUCKET_ID])
        block, after, touched = number_blocks(head, [(b"", 0, b"".join(pieces))], sequences)

        async def work(transaction: Transaction) -> None:
            await transaction.move_head(head, after)
            await transaction.number_pending([], block, touched)

        await self.database.run(work)
        records = unpack_block(block)
        if publish:
            await self.publish(records)
        return records

    async def end(self) -> int:
        """The first position that is not numbered yet."""
        return (await self.reader.audit_head(STREAM)).next_position

    async def publish(self, records: list[NumberedRecord]) -> None:
        publisher = await self.broker.safe_publisher()
        messages = [
            to_cloudevent(
                record.payload,
                position=record.position,
                stream=record.stream,
                sequence=record.sequence,
                previous_hash=record.previous_hash,
            )
            for record in records
        ]
        await publisher.publish_all(
            AUDIT, [(one.key, one.value, one.headers) for one in messages], partition=0
        )

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            DispatcherDependencies(
                store=self.store,
                reader=self.reader,
                broker=self.broker,
                sender=self.receivers,
                master_key=MASTER_KEY,
                clock=self.clock,
                rng=random.SystemRandom(),  # Owners of the lease must differ.
            )
        )

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher until the block ends; what it raises comes out."""
        stopping = asyncio.Event()
        dispatcher = self.dispatcher()
        task = asyncio.create_task(dispatcher.run(stopping))
        try:
            yield dispatcher
        finally:
            stopping.set()
            async with asyncio.timeout(WAIT_S):
                await task

    async def waiting(self, one: Subscription) -> int:
        return (await self.store.waiting(one.subscription_id)).count

    async def live(self, *subscriptions: Subscription) -> None:
        """Wait until these follow the stream."""

        async def all_live() -> bool:
            found = [await self.store.subscription(one.subscription_id) for one in subscriptions]
            return all(one is not None and one.is_live for one in found)

        await until(all_live)


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)
