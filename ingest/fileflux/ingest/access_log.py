"""Records reads and refused requests on the access topic, for buckets whose configuration asks.

The answer waits for the record: a bucket that asks for a trace of every access shall have no access
without one. When the broker cannot take it the client hears 503, and the bytes were not sent. What
is refused before its bucket could be looked up, because the database is away, leaves no record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from fileflux.core.batching import Batcher
from fileflux.core.errors import NotFound, SlowDown, Unavailable
from fileflux.events.access import READ, REFUSED, Access, partition_of, to_message
from fileflux.events.ports import EventPublisher
from fileflux.events.topics import ACCESS
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.call import Call
from fileflux.ingest.names import is_bucket_name
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.metadata.audit_facts import actor_facts, key_facts
from fileflux.metadata.rows import BucketRow

ENTRY: Final = "access_log"
"""The entry of a bucket's configuration that asks for it."""
READS: Final = frozenset({"GET", "HEAD"})
OF_METHODS: Final = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}
"""What the REST endpoints do with an object, by S3's names."""
WAITING_MAX: Final = 4_096
"""Records of a lane that wait: clients that hang up leave theirs, and the broker may hang."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request and what is about to be answered. `call` is None if nobody proved who asks."""

    request: ParsedRequest
    request_id: str
    received_us: int
    source_address: str
    operation: str
    status: int
    code: str = ""
    size: str = ""
    call: Call | None = field(default=None)

    @property
    def is_s3(self) -> bool:
        """Whether its path names a bucket first: the REST endpoints' paths begin with a verb."""
        return not self.request.headers.get("authorization", "").lower().startswith("basic")

    @property
    def kind(self) -> str | None:
        """READ, REFUSED, or None for a change that was made: the audit stream has it."""
        if self.status >= 400:
            return REFUSED
        return READ if self.request.method in READS else None


class AccessLog:
    """`open_publisher` makes a safe one, when the first bucket asks."""

    def __init__(
        self,
        open_publisher: Callable[[], Awaitable[EventPublisher]],
        buckets: BucketDirectory,
        *,
        lanes: int,
    ) -> None:
        self._open_publisher = open_publisher
        self._buckets = buckets
        self._lanes = lanes
        self._publisher: EventPublisher | None = None
        self._opening: asyncio.Task[EventPublisher] | None = None
        self._batchers = [
            Batcher[Access, None](self._flush_to(partition)) for partition in range(lanes)
        ]

    async def note(self, answered: Answered) -> None:
        """Return when the access is recorded, or its bucket asks for nothing.

        Raise BrokerUnavailable when it cannot be recorded, SlowDown when too many wait for that.
        """
        kind = answered.kind
        if kind is None:
            return
        bucket = await self._bucket_of(answered)
        if bucket is None or not asks(bucket):
            return
        partition = partition_of(bucket.bucket_id, lanes=self._lanes)
        batcher = self._batchers[partition]
        if batcher.waiting_count >= WAITING_MAX:
            raise SlowDown("too many accesses wait to be recorded")
        await batcher.submit(_access(answered, kind, bucket))

    async def close(self) -> None:
        for batcher in self._batchers:
            await batcher.close()
        if self._publisher is not None:
            await self._publisher.close()

    async def _bucket_of(self, answered: Answered) -> BucketRow | None:
        if answered.call is not None and answered.call.bucket_row is not None:
            return answered.call.bucket_row
        name = answered.request.bucket
        is_unknown = answered.code == "NoSuchBucket" or answered.status >= 500
        if answered.kind is not REFUSED or is_unknown or not answered.is_s3:
            return None
        if not is_bucket_name(name):
            return None
        with suppress(NotFound, Unavailable):
            return await self._buckets.find(name)
        return None

    def _flush_to(self, partition: int) -> Callable[[Sequence[Access]], Awaitable[list[None]]]:
        async def flush(accesses: Sequence[Access]) -> list[None]:
            publisher = await self._opened()
            messages = [to_message(one) for one in accesses]
            records = [(one.key, one.value, one.headers) for one in messages]
            await publisher.publish_all(ACCESS, records, partition=partition)
            return [None] * len(accesses)

        return flush

    async def _opened(self) -> EventPublisher:
        """Lanes that wait share one attempt: while the broker is away none waits for another's."""
        if self._publisher is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(self._open(), name="open access publisher")
            return await asyncio.shield(self._opening)
        return self._publisher

    async def _open(self) -> EventPublisher:
        self._publisher = await self._open_publisher()
        return self._publisher


def asks(bucket: BucketRow | None) -> bool:
    """Tell whether a bucket's accesses are to be recorded."""
    return bucket is not None and bucket.config.get(ENTRY) is True


def _operation(answered: Answered) -> str:
    if answered.is_s3 or answered.call is None or answered.call.bucket_row is None:
        return answered.operation
    return OF_METHODS.get(answered.request.method, answered.operation)


def _access(answered: Answered, kind: str, bucket: BucketRow) -> Access:
    request, call = answered.request, answered.call
    moment = _EPOCH + timedelta(microseconds=answered.received_us)
    data: dict[str, object] = {
        "version": 1,
        "operation": _operation(answered),
        "method": request.method,
        "bucket": bucket.name,
        "bucket_id": bucket.bucket_id.hex(),
        "owner": bucket.owner_id.hex(),
        **(key_facts(request.key) if request.bucket == bucket.name and request.key else {}),
        "at_us": answered.received_us,
        "status": answered.status,
        **({"code": answered.code} if answered.code else {}),
        **({"size": int(answered.size)} if answered.size.isdigit() else {}),
        "actor": actor_facts(call.actor) if call is not None else _nobody(answered),
    }
    return Access(
        access_id=answered.request_id,
        access_type=kind,
        bucket_id=bucket.bucket_id,
        source=f"/buckets/{bucket.name}",
        time=moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        data=data,
    )


def _nobody(answered: Answered) -> dict[str, str]:
    return {"source_address": answered.source_address, "request_id": answered.request_id}
