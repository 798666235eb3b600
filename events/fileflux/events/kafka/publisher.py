"""Sends records: a deadline on every send, and a new producer when the old one may be broken.

aiokafka's idempotent producer stays on OutOfOrderSequence for ever, and a send waits for ever when
its sender task died. So after any error the producer is given up: those who wait send again with
the next one, and ids make what was sent twice harmless.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable, EventInvalid
from fileflux.core.model import KIB
from fileflux.core.telemetry import BROKER_RECONNECTS, EVENTS, get_logger
from fileflux.events.kafka.connection import finish
from fileflux.events.ports import Position
from fileflux.events.topics import AUDIT_RECORD_BYTES_MAX

log = get_logger(__name__)

BATCH_SIZE_BYTES: Final = 768 * KIB
"""Below the 1 MiB that a topic takes by default, however many records share the batch."""
RECONNECT_INTERVAL_S: Final = 0.25
"""Between attempts to reach the broker: a hundred waiters need not all knock."""

_Send = Callable[[AIOKafkaProducer], Awaitable[int]]


class KafkaPublisher:
    """An `EventPublisher`. `options`: of the producer; `deadline_s`: of each send."""

    def __init__(self, options: dict[str, Any], *, deadline_s: float, clock: Clock) -> None:
        self._options = options
        self._deadline_s = deadline_s
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._next_attempt_s = 0.0
        self._retired: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    async def connect(self) -> None:
        """Reach the broker; raise BrokerUnavailable."""
        await self._attempt(lambda _: _nothing())

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        partition: int,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        async def send(producer: AIOKafkaProducer) -> int:
            sent = await producer.send_and_wait(
                topic, value, key=key, partition=partition, headers=list(headers)
            )
            return int(sent.offset)

        offset = await self._attempt(send)
        EVENTS.labels(topic, "published").inc()
        return Position(topic, partition, offset)

    async def publish_all(
        self,
        topic: str,
        records: Sequence[tuple[bytes | None, bytes, Sequence[tuple[str, bytes]]]],
        *,
        partition: int,
    ) -> Position:
        assert records, "at least one record"
        offset = -1
        for run in _runs(records):

            async def send(producer: AIOKafkaProducer, run: _Run = run) -> int:
                return await _send_batch(producer, topic, partition, run)

            # One batch after the other: each is there as a whole, so what is there is a prefix.
            offset = await self._attempt(send)
            EVENTS.labels(topic, "published").inc(len(run))
        return Position(topic, partition, offset)

    async def close(self) -> None:
        self._closed = True
        if self._producer is not None:
            self._retire(self._producer)
        if self._retired:
            await asyncio.wait(set(self._retired))

    async def _attempt(self, send: _Send) -> int:
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                producer = await self._ready()
                return await send(producer)
        except MessageSizeTooLargeError as error:
            if producer is not None and self._options.get("enable_idempotence"):
                self._retire(producer)  # It has counted what the broker did not take.
            raise EventInvalid(str(error)) from error
        except (TimeoutError, KafkaError, AssertionError) as error:
            if producer is not None:
                self._retire(producer)
            raise BrokerUnavailable(f"not acknowledged: {error!r}") from error

    async def _ready(self) -> AIOKafkaProducer:
        if self._closed:
            raise BrokerUnavailable("the publisher is closed")
        if self._producer is not None:
            return self._producer
        async with self._connecting:
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    async def _connect(self) -> AIOKafkaProducer:
        if self._clock.monotonic_s() < self._next_attempt_s:
            raise BrokerUnavailable("the broker was not reached a moment ago")
        producer = AIOKafkaProducer(
            max_batch_size=BATCH_SIZE_BYTES,
            max_request_size=AUDIT_RECORD_BYTES_MAX,
            linger_ms=0,
            **self._options,
        )
        try:
            await producer.start()
        except BaseException:
            self._next_attempt_s = self._clock.monotonic_s() + RECONNECT_INTERVAL_S
            self._discard(producer)
            raise
        return producer

    def _retire(self, producer: AIOKafkaProducer) -> None:
        """Use this producer no more; what others have in flight with it may still end well."""
        if self._producer is producer:
            self._producer = None
            self._discard(producer)
            if not self._closed:
                BROKER_RECONNECTS.labels("publisher").inc()
                log.info("a Kafka producer is given up and a new one made at the next send")

    def _discard(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.get_running_loop().create_task(_stop(producer), name="stop kafka producer")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)


_Run = Sequence[tuple[bytes | None, bytes, Sequence[tuple[str, bytes]]]]


async def _nothing() -> int:
    return 0


def _runs(records: _Run) -> Iterator[_Run]:
    """Cut where a batch would become too large; one record alone may be larger."""
    start = size = 0
    for at, (key, value, headers) in enumerate(records):
        weight = 64 + len(key or b"") + len(value) + sum(len(n) + len(v) + 8 for n, v in headers)
        if at > start and size + weight > BATCH_SIZE_BYTES:
            yield records[start:at]
            start, size = at, 0
        size += weight
    yield records[start:]


async def _send_batch(producer: AIOKafkaProducer, topic: str, partition: int, run: _Run) -> int:
    batch = producer.create_batch()
    for key, value, headers in run:
        appended = batch.append(key=key, value=value, timestamp=None, headers=list(headers))
        assert appended is not None, "a run fits into a batch"
    batch.close()
    sent = await producer.send_batch(batch, topic, partition=partition)
    # Shielded: aiokafka's sender must find its own future as it left it.
    sent.add_done_callback(_retrieved)
    return int((await asyncio.shield(sent)).offset) + len(run) - 1


def _retrieved(sent: "asyncio.Future[Any]") -> None:
    """Say that the exception was seen: whoever waited may have gone."""
    if not sent.cancelled():
        sent.exception()


async def _stop(producer: AIOKafkaProducer) -> None:
    """Flush and stop; by force when that hangs, so that nothing old is sent much later."""
    if await finish(producer.stop()):
        return
    # Private names of the pinned version: `stop` alone leaves tasks behind without a broker.
    producer._message_accumulator.fail_all(ProducerClosed())
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
    await finish(producer.client.close())
    if sender is not None:
        await asyncio.wait({sender}, timeout=1.0)
