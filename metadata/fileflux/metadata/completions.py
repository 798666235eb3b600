"""Tells the ingests what came of their seals, after the transaction committed.

A doorbell: if a record gets lost, its waiter asks for the settlement. So a failed publish is only
logged, and the next transaction does not wait for the broker's acknowledgement.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import get_logger
from fileflux.core.tracing import TraceContext
from fileflux.events.codec import encode_events
from fileflux.events.ports import EventPublisher
from fileflux.events.schema import UploadsCompleted
from fileflux.events.topics import UPLOADS_COMPLETED
from fileflux.events.traced_publisher import trace_headers
from fileflux.metadata.rows import Settlement

log = get_logger(__name__)

RECORD_OUTCOMES_MAX: Final = 1_024
"""About 200 bytes each: a record stays far below the megabyte that a topic takes by default."""
IN_FLIGHT_MAX: Final = 64


class CompletionPublisher:
    """Publishes in the background, a bounded number of records at once."""

    def __init__(self, publisher: EventPublisher, *, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self._in_flight: set[asyncio.Task[None]] = set()

    async def send(
        self, lane: int, settlements: Iterable[Settlement], trace: TraceContext | None = None
    ) -> None:
        """Publish one record per lane and step; wait only when too many are in flight."""
        now_us = self._clock.now_us()
        events = [
            UploadsCompleted(
                seal_id=settlement.seal_id,
                lane=lane,
                outcomes=settlement.outcomes,
                completed_us=now_us,
            )
            for settlement in settlements
        ]
        for run in _runs(events):
            while len(self._in_flight) >= IN_FLIGHT_MAX:
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
            self._start(lane, encode_events(run), trace)

    async def drain(self) -> None:
        """Return when everything has been acknowledged or given up."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _start(self, lane: int, value: bytes, trace: TraceContext | None) -> None:
        task = asyncio.create_task(self._publish(lane, value, trace), name="publish completions")
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _publish(self, lane: int, value: bytes, trace: TraceContext | None) -> None:
        try:
            await self._publisher.publish(
                UPLOADS_COMPLETED, value, partition=lane, headers=trace_headers(trace)
            )
        except BrokerUnavailable as error:
            log.info("completions not published; their waiters will ask", cause=str(error))
        else:
            failpoint("materializer.after_publish")


def _runs(events: list[UploadsCompleted]) -> Iterator[list[UploadsCompleted]]:
    """Cut where a record would hold too many outcomes; one seal alone may hold more."""
    run: list[UploadsCompleted] = []
    count = 0
    for event in events:
        if run and count + len(event.outcomes) > RECORD_OUTCOMES_MAX:
            yield run
            run, count = [], 0
        run.append(event)
        count += len(event.outcomes)
    if run:
        yield run
