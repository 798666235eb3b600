"""Tell the pipeline what came of assignments: one record per flush and lane.

Everything that is answered in the same turn of the loop for the same lane goes into one record. An
answer that the broker does not take is lost: whoever waits for it assigns again, and we answer
again.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from fileflux.core.errors import BrokerUnavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.telemetry import NODE_ANSWERS_LOST, get_logger
from fileflux.core.tracing import TraceContext
from fileflux.events.codec import encode_events
from fileflux.events.ports import EventPublisher
from fileflux.events.schema import BundleCommitted, BundleRefused
from fileflux.events.topics import BUNDLES_COMMITTED
from fileflux.events.traced_publisher import trace_headers

log = get_logger(__name__)

Answer = BundleCommitted | BundleRefused
_Waiting = tuple[Answer, asyncio.Future[None], TraceContext | None]

EVENTS_PER_RECORD_MAX: Final = 1_000
"""About 150 KB: far below what a topic takes."""


class Answers:
    """Has an owner, who closes it. As many records are in flight as assignments allow."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher
        self._waiting: dict[int, list[_Waiting]] = {}
        self._sends: set[asyncio.Task[None]] = set()

    async def send(self, lane: int, answer: Answer, trace: TraceContext | None = None) -> None:
        """Return when the answer is published, or given up. `trace`: what it belongs to."""
        loop = asyncio.get_running_loop()
        sent: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.get(lane)
        if waiting is None:
            waiting = self._waiting[lane] = []
            loop.call_soon(self._start, lane)
        waiting.append((answer, sent, trace))
        await sent

    async def close(self) -> None:
        """Return when nothing is in flight."""
        while self._sends or self._waiting:
            await asyncio.sleep(0)
            if self._sends:
                await asyncio.wait(set(self._sends))

    def _start(self, lane: int) -> None:
        waiting = self._waiting.pop(lane)
        for first in range(0, len(waiting), EVENTS_PER_RECORD_MAX):
            part = waiting[first : first + EVENTS_PER_RECORD_MAX]
            task = asyncio.get_running_loop().create_task(self._publish(lane, part))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _publish(self, lane: int, waiting: Sequence[_Waiting]) -> None:
        answers = [answer for answer, _, _ in waiting]
        try:
            failpoint("node.before_publish")
            await self._publisher.publish(
                BUNDLES_COMMITTED,
                encode_events(answers),
                partition=lane,
                key=answers[0].bundle_id,
                headers=trace_headers(*(trace for _, _, trace in waiting)),
            )
            failpoint("node.after_publish")
        except BrokerUnavailable as error:
            NODE_ANSWERS_LOST.inc(len(answers))
            log.warning("answers were not published", count=len(answers), reason=str(error))
        finally:
            for _, sent, _ in waiting:
                if not sent.done():
                    sent.set_result(None)
