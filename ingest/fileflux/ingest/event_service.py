"""What event streams and searches of one worker share: the reader, the tail, the limits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fileflux.core.clock import Clock
from fileflux.events.ports import EventSource
from fileflux.ingest.admission import MemoryBudget
from fileflux.ingest.event_cursor import Cursors
from fileflux.ingest.event_limits import EventLimits
from fileflux.ingest.event_places import SharedPlace
from fileflux.ingest.event_tail import EventTail
from fileflux.metadata.audit_places import DatabasePlace, TopicPlace
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.ports import MetadataReader

CONNECT_WAIT_S: Final = 0.5
"""A broker that is away is waited for no longer: the database has everything."""


class EventService:
    """`reader`: over the tail and the database. `closing` is set when streams must end."""

    def __init__(
        self,
        metadata: MetadataReader,
        open_source: Callable[[], Awaitable[EventSource]],
        *,
        clock: Clock,
        master_key: bytes,
        memory: MemoryBudget,
        streams_max: int,
    ) -> None:
        topic = TopicPlace(open_source, clock, open_wait_s=CONNECT_WAIT_S)
        database = SharedPlace(DatabasePlace(metadata))
        self.clock = clock
        self.cursors = Cursors(master_key)
        self.limits = EventLimits(memory, streams_max=streams_max)
        newest = AuditReader([topic, database], end_of=database)
        self.tail = EventTail(newest, clock, rest=topic.close)
        # The tail may be behind another worker's, whose cursors come here.
        self.reader = AuditReader([self.tail, database], end_of=database)
        self.closing = asyncio.Event()

    def close(self) -> None:
        """End all streams; their clients come back, to another worker."""
        self.closing.set()
