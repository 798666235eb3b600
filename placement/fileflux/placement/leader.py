"""What the leading worker does with what Faust reads: heartbeats in, maps out.

All workers run this; the one that Faust gave the heartbeats' partition to leads. A leader first
hears its own echo, so it knows that it has read all that was sent before it led, and later that
Faust still reads at all: Faust may stay stuck after a rebalance or a broker's restart while its
process looks well.

Two leaders for a moment are harmless: epochs rise, readers keep the highest. A leader that reads
another's map stops until it heard a new echo, and then publishes above it. So the one that Faust
feeds has the last word, and a former leader that woke up is quiet.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.errors import BrokerUnavailable, EventInvalid
from fileflux.core.failpoints import failpoint
from fileflux.core.model import StorageClass
from fileflux.core.telemetry import (
    HEARTBEATS,
    PLACEMENT_CLASSES_DOWN,
    PLACEMENT_EPOCH,
    PLACEMENT_NODES,
    get_logger,
)
from fileflux.core.tracing import tracer
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.ports import EventPublisher
from fileflux.events.schema import NodeHeartbeat, PlacementDecided, StreamEchoed
from fileflux.events.topics import NODES_HEARTBEATS, PLACEMENT_MAP
from fileflux.events.traced_publisher import trace_headers
from fileflux.placement.intents import IntentWatch
from fileflux.placement.map_maker import MapMaker
from fileflux.placement.map_view import MapView
from fileflux.placement.membership import ALIVE, DRAINING, LOST, SUSPECT, Membership

log = get_logger(__name__)

STEP_INTERVAL_S: Final = 0.25
ECHO_INTERVAL_S: Final = 2.0
ECHO_LATE_S: Final = 15.0
"""An echo that the broker took and Faust did not give us for so long: Faust is stuck."""
OWN_MAPS_KEPT: Final = 64
"""More than the view can be behind: a map is published once a second at most."""
NOBODY_LEADS_S: Final = 90.0
"""Three repeats of the map are missing: as a stand-by we should be leading, and are not."""
WIPED_CHECK_INTERVAL_S: Final = 2.0
NOBODY_FILLS_S: Final = 15.0
"""A leader fills a wiped topic within seconds. Faust gives nobody a topic that it found missing."""


@dataclass(slots=True)
class _Echo:
    """The oldest echo that the broker took and we have not read."""

    number: int
    taken_at_s: float


class Leader:
    """`publisher`: a safe one. `view`: follows the map, for the epoch to go on from."""

    def __init__(
        self,
        *,
        name: str,
        classes: Mapping[str, StorageClass],
        publisher: EventPublisher,
        view: MapView,
        intents: IntentWatch,
        clock: Clock,
    ) -> None:
        self._name = name
        self._tracer = tracer()
        self._publisher = publisher
        self._view = view
        self._intents = intents
        self._clock = clock
        self._membership = Membership(now_s=clock.monotonic_s())
        self._maker = MapMaker(classes, self._membership)
        self._is_assigned = False
        self._is_new = False
        self._is_caught_up = False
        self._is_proven = False
        self._term = 0
        self._own_maps: deque[tuple[int, int]] = deque(maxlen=OWN_MAPS_KEPT)
        self._echo_number = 0
        self._first_echo = 0
        self._echo_sent_at_s = float("-inf")
        self._unheard: _Echo | None = None
        self._wiped_checked_at_s = float("-inf")
        self._wiped_since_s: float | None = None

    @property
    def is_leading(self) -> bool:
        """Whether we are to lead; maps go out once we have read all that was there before."""
        return self._is_assigned

    def assigned(self, *, leads: bool) -> None:
        """Faust gave us the heartbeats, or took them away."""
        if leads == self._is_assigned:
            return
        log.info("placement leads" if leads else "placement stands by", worker=self._name)
        self._is_assigned = leads
        self._term += 1
        self._is_new = leads
        self._is_caught_up = False
        self._is_proven = False
        self._first_echo = self._echo_number + 1
        self._echo_sent_at_s = float("-inf")
        self._unheard = None

    def take(self, values: Sequence[bytes]) -> None:
        """Fold what was read of the heartbeats' topic. What cannot be read is counted, dropped."""
        now_s = self._clock.monotonic_s()
        self._membership.note_stream(now_s)
        for value in values:
            try:
                events = decode_events(value)
            except EventInvalid:
                HEARTBEATS.labels("unreadable").inc()
                continue
            for event in events:
                if isinstance(event, NodeHeartbeat):
                    self._hear(event, now_s)
                elif isinstance(event, StreamEchoed) and event.reader == self._name:
                    self._hear_echo(event)

    async def run(self) -> None:
        """Echo and publish when due; returns never. A broker's outage is waited for."""
        while True:
            try:
                await self.step()
            except BrokerUnavailable as error:
                log.info("the map waits for the broker", cause=repr(error))
            await self._clock.sleep(STEP_INTERVAL_S)

    async def step(self) -> None:
        """Do what is due now. Raise BrokerUnavailable."""
        await self._note_wiped()
        if self._is_overruled():
            self._prove_again()
        if self._is_assigned and self._is_new:
            await self._take_over()
        if self._is_assigned and not self._is_new:
            await self._echo_when_due()
        if self._is_assigned and not self._is_new and self._is_proven:
            await self._publish_when_due()

    def problem(self) -> str | None:
        """Return why this process should be restarted, if it should."""
        now_s = self._clock.monotonic_s()
        if self._unheard is not None and now_s - self._unheard.taken_at_s > ECHO_LATE_S:
            return f"Faust reads nothing: an echo is missing for {ECHO_LATE_S:.0f} s"
        if not self._is_assigned and self._view.unread_s > NOBODY_LEADS_S:
            return (
                f"nobody leads: no map for {NOBODY_LEADS_S:.0f} s, and Faust gave us no partition"
            )
        wiped_s = 0.0 if self._wiped_since_s is None else now_s - self._wiped_since_s
        if not self._is_assigned and wiped_s > NOBODY_FILLS_S:
            return f"nobody leads: the map's topic was wiped {wiped_s:.0f} s ago and is still empty"
        return None

    def _hear(self, heartbeat: NodeHeartbeat, now_s: float) -> None:
        counts = self._membership.hear(heartbeat, now_s, is_history=not self._is_caught_up)
        HEARTBEATS.labels("heard" if counts else "ignored").inc()

    def _hear_echo(self, echo: StreamEchoed) -> None:
        if self._unheard is not None and echo.number >= self._unheard.number:
            self._unheard = None
        if self._is_assigned and echo.number >= self._first_echo:
            self._is_caught_up = True
            self._is_proven = True

    async def _note_wiped(self) -> None:
        """Whoever starts on an empty topic waits for a map: a leader repeats it at once."""
        now_s = self._clock.monotonic_s()
        if now_s - self._wiped_checked_at_s < WIPED_CHECK_INTERVAL_S:
            return
        self._wiped_checked_at_s = now_s
        try:
            was_wiped = await self._view.was_wiped()
        except BrokerUnavailable:
            self._wiped_since_s = None  # Nobody can tell, and what needs the broker says so itself.
            return
        if not was_wiped:
            self._wiped_since_s = None
            return
        self._wiped_since_s = self._wiped_since_s or now_s
        self._maker.repeat()

    async def _echo_when_due(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._echo_sent_at_s < ECHO_INTERVAL_S:
            return
        self._echo_sent_at_s = now_s
        self._echo_number += 1
        echo = _Echo(self._echo_number, now_s)
        event = StreamEchoed(reader=self._name, number=echo.number)
        # Noted before it is sent: it may be read before the acknowledgement is.
        is_oldest = self._unheard is None
        self._unheard = self._unheard or echo
        try:
            await self._publisher.publish(
                NODES_HEARTBEATS, encode_events([event]), partition=0, key=self._name.encode()
            )
        except BrokerUnavailable:
            if is_oldest:
                self._unheard = None  # The broker may not have it: no fault of Faust's.
            raise

    async def _take_over(self) -> None:
        """Go on from the last map. Done again if Faust took the partition away meanwhile."""
        term = self._term
        await self._view.catch_up()
        if term != self._term:
            return
        last = self._view.current.decided
        self._own_maps.append((last.epoch, last.at_us))
        self._intents.assume(last)
        self._maker.take_over(last if last.epoch else None, now_s=self._clock.monotonic_s())
        self._is_new = False
        log.info("placement takes over", worker=self._name, last_epoch=last.epoch)

    def _is_overruled(self) -> bool:
        """Whether readers keep a map that is neither ours nor the one that we went on from."""
        if not self._is_assigned or self._is_new:
            return False
        kept = self._view.current.decided
        return (kept.epoch, kept.at_us) not in self._own_maps

    def _prove_again(self) -> None:
        """Lead again from that map, after an echo that only the fed one of two leaders hears."""
        kept = self._view.current
        log.warning("readers keep a map that is not ours", worker=self._name, epoch=kept.epoch)
        self._is_new = True
        self._is_proven = False
        self._first_echo = self._echo_number + 1

    async def _publish_when_due(self) -> None:
        proposal = self._maker.due(
            now_s=self._clock.monotonic_s(),
            now_us=self._clock.now_us(),
            intents=self._intents.current,
        )
        if proposal is None:
            return
        decided = proposal.decided
        failpoint("placement.before_publish")
        with self._tracer.request("decide placement map", None, kind="internal") as span:
            span.set("fileflux.placement.epoch", decided.epoch)
            await self._publisher.publish(
                PLACEMENT_MAP,
                encode_events([decided]),
                partition=0,
                headers=trace_headers(span.context),
            )
        failpoint("placement.after_publish")
        self._own_maps.append((decided.epoch, decided.at_us))
        self._maker.published(proposal, now_s=self._clock.monotonic_s())
        _show(decided)


def _show(decided: PlacementDecided) -> None:
    PLACEMENT_EPOCH.set(decided.epoch)
    for state in (ALIVE, SUSPECT, LOST, DRAINING):
        count = sum(1 for node in decided.nodes if node.state == state)
        PLACEMENT_NODES.labels(state).set(count)
    PLACEMENT_CLASSES_DOWN.set(sum(1 for sets in decided.classes if not sets.small))
