"""Hear what became of our uploads: our lane of the committed bundles and of the settlements.

Reading starts at the lane's end, since nobody here waits for what was before. A record that is lost
or cannot be decoded costs time only: whoever waits in silence asks the database (`settling.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, FileFluxError
from fileflux.core.ids import NodeId
from fileflux.core.telemetry import get_logger
from fileflux.core.tracing import tracer
from fileflux.events.codec import decode_events
from fileflux.events.ports import EventSource, Record
from fileflux.events.schema import BundleCommitted, BundleRefused, Event, UploadsCompleted
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_COMPLETED
from fileflux.events.traced_publisher import consumed
from fileflux.ingest.seals import OpenSeals, WatchedBundle

log = get_logger(__name__)

FETCH_WAIT_S: Final = 0.1
FETCH_DEADLINE_S: Final = 10.0
RETRY_S: Final = 0.5


class Completions:
    """Feeds `OpenSeals` from the lane. `run` is the only reader of the source.

    `on_confirmed(bundle)` and `on_refused(bundle, node)` are told what `OpenSeals` made of it.
    """

    def __init__(
        self,
        source: EventSource,
        seals: OpenSeals,
        *,
        lane: int,
        clock: Clock,
        on_confirmed: Callable[[WatchedBundle], None],
        on_refused: Callable[[WatchedBundle, NodeId], None],
    ) -> None:
        self._source = source
        self._seals = seals
        self._lane = lane
        self._clock = clock
        self._on_confirmed = on_confirmed
        self._on_refused = on_refused
        self._tracer = tracer()
        self._heard_s = clock.monotonic_s()

    @property
    def silent_s(self) -> float:
        """How long the consumer itself has not come round: it is stuck, or the broker is away."""
        return self._clock.monotonic_s() - self._heard_s

    async def start(self) -> None:
        """Go to the lane's end; from here on nothing is missed."""
        for topic in (UPLOADS_COMPLETED, BUNDLES_COMMITTED):
            await self._source.seek_to_end(topic, self._lane)
        self._heard_s = self._clock.monotonic_s()

    async def run(self) -> None:
        """Read until cancelled. A broker that is away is asked again."""
        while True:
            try:
                async with asyncio.timeout(FETCH_DEADLINE_S):
                    records = await self._source.fetch(wait_s=FETCH_WAIT_S)
            except (FileFluxError, TimeoutError) as error:
                log.info("the lane cannot be read", lane=self._lane, problem=str(error))
                await self._clock.sleep(RETRY_S)
                continue
            self._heard_s = self._clock.monotonic_s()
            for record in records:
                if self._tracer.is_on:
                    with consumed(self._tracer, record):
                        self._hear(record)
                else:
                    self._hear(record)

    async def close(self) -> None:
        await self._source.close()

    def _hear(self, record: Record) -> None:
        try:
            events = decode_events(record.value)
        except EventInvalid:
            # The materializer reads the same record and sets it aside as a dead letter.
            log.warning("a record of the lane is not ours", position=record.position)
            return
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, UploadsCompleted):
            self._seals.on_completed(event)
        elif isinstance(event, BundleCommitted):
            bundle = self._seals.on_committed(event)
            if bundle is not None:
                self._on_confirmed(bundle)
        elif isinstance(event, BundleRefused):
            bundle = self._seals.on_refused(event)
            if bundle is not None:
                log.info(
                    "a node refused a bundle",
                    bundle_id=event.bundle_id.hex(),
                    node_id=event.node_id,
                    reason=event.reason,
                )
                self._on_refused(bundle, event.node_id)
