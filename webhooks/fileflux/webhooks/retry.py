"""What an attempt's outcome means, and when the next one is due. Pure."""

import email.utils
import random
from dataclasses import dataclass
from typing import Final, Literal

BACKOFF_S: Final = (5, 15, 60, 300, 900, 3_600, 10_800, 21_600)
"""Before the second attempt, the third, …; the last one stays."""
JITTER: Final = 0.2
RETRY_WINDOW_S: Final = 3 * 24 * 3_600
"""So old, and tried for so long, is what is given up: a dead letter."""
TRIES_MIN: Final = 20
"""Failures whose back-offs take the window. A pause, an outage and a clock that jumps cost none."""
RETRY_AFTER_S_MAX: Final = 24 * 3_600
LANES_MAX: Final = 10_000
"""Keys without patience that are remembered of one subscription."""

Verdict = Literal["delivered", "failed", "gone"]
GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt. `status` 0: no answer, and `problem` says why.

    `head`: a few of the answer's headers. Its body is read to be thrown away.
    """

    status: int
    latency_us: int
    head: str = ""
    problem: str = ""
    retry_after: str = ""

    @property
    def verdict(self) -> Verdict:
        """A redirect is a failure: it is never followed."""
        if 200 <= self.status < 300:
            return "delivered"
        return "gone" if self.status == GONE else "failed"


class Patience:
    """Where a delivery was given up and nothing was taken since: what waited behind it goes, too.

    Else each delivery of a key would hold back the next ones for days of its own. In memory only:
    who starts anew is patient.
    """

    def __init__(self) -> None:
        self._lanes: set[bytes] = set()
        self._is_taking_nothing = False

    def is_worn(self, lane: bytes) -> bool:
        return self._is_taking_nothing or lane in self._lanes

    def gave_up(self, lane: bytes) -> None:
        if len(self._lanes) >= LANES_MAX:
            self._lanes.clear()
        self._lanes.add(lane)
        self._is_taking_nothing = True

    def delivered(self, lane: bytes) -> None:
        self._lanes.discard(lane)
        self._is_taking_nothing = False


def next_attempt_us(
    result: Result,
    *,
    attempts: int,
    queued_us: int,
    now_us: int,
    rng: random.Random,
    is_worn: bool = False,
) -> int | None:
    """Return when to try again after `attempts` failures; None: never, the delivery is dead.

    `is_worn`: what stood before it was tried for the whole window, so that its own age counts.
    """
    is_old = now_us - queued_us >= RETRY_WINDOW_S * 1_000_000
    if is_old and (is_worn or attempts >= TRIES_MIN):
        return None
    backoff_s = BACKOFF_S[min(attempts, len(BACKOFF_S)) - 1] * rng.uniform(1 - JITTER, 1 + JITTER)
    wait_s = max(backoff_s, retry_after_s(result.retry_after, now_us))
    return now_us + int(wait_s * 1_000_000)


def retry_after_s(text: str, now_us: int) -> float:
    """Return the seconds that `Retry-After` asks for, at most a day; 0 if it says nothing."""
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), RETRY_AFTER_S_MAX))
    try:
        at_s = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return min(max(0.0, at_s - now_us / 1_000_000), float(RETRY_AFTER_S_MAX))
