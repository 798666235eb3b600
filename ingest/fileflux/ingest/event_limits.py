"""How many may follow or search the audit stream at once: of one worker, and of one user.

Whoever comes too many hears 503 SlowDown before anything is read. Each takes its memory out of the
worker's budget, as uploads and downloads do.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fileflux.core.errors import SlowDown
from fileflux.core.ids import UserId
from fileflux.core.model import KIB, MIB
from fileflux.core.telemetry import EVENT_STREAMS, SLOW_DOWNS
from fileflux.ingest.admission import MemoryBudget

STREAM_BYTES: Final = 512 * KIB
"""A page of records, and the piece that is being sent."""
SEARCH_BYTES: Final = 4 * MIB
"""A page of records, and the answer."""
STREAMS_PER_USER_MAX: Final = 16
SEARCHES_MAX: Final = 4


class Slot:
    """A place in the limits. `leave` gives it back, once."""

    def __init__(self, limits: "EventLimits", user_id: UserId) -> None:
        self._limits = limits
        self._user_id = user_id
        self._is_held = True

    def leave(self) -> None:
        if self._is_held:
            self._is_held = False
            self._limits.leave(self._user_id)


class EventLimits:
    """`streams_max`: of this worker."""

    def __init__(self, memory: MemoryBudget, *, streams_max: int) -> None:
        self._memory = memory
        self._streams_max = streams_max
        self._streams: Counter[UserId] = Counter()
        self._searches = 0

    @property
    def stream_count(self) -> int:
        return self._streams.total()

    def enter(self, user_id: UserId) -> Slot:
        """Count a stream in; raise SlowDown when there are too many."""
        if self.stream_count >= self._streams_max:
            raise _refused("event streams")
        if self._streams[user_id] >= STREAMS_PER_USER_MAX:
            raise _refused("event streams of a user")
        if not self._memory.take(STREAM_BYTES):
            raise _refused("memory")
        self._streams[user_id] += 1
        EVENT_STREAMS.inc()
        return Slot(self, user_id)

    def leave(self, user_id: UserId) -> None:
        self._streams[user_id] -= 1
        self._streams += Counter()  # Forget who has none.
        self._memory.give_back(STREAM_BYTES)
        EVENT_STREAMS.dec()

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Count a search in while this is open; entering raises SlowDown."""
        if self._searches >= SEARCHES_MAX:
            raise _refused("searches")
        if not self._memory.take(SEARCH_BYTES):
            raise _refused("memory")
        self._searches += 1
        try:
            yield
        finally:
            self._searches -= 1
            self._memory.give_back(SEARCH_BYTES)


def _refused(reason: str) -> SlowDown:
    SLOW_DOWNS.labels(reason).inc()
    return SlowDown(f"refused for {reason}")
