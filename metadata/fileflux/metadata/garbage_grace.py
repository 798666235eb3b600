"""How long bytes stay that nobody references: the grace period, and the holds that lengthen it.

Whoever removes garbage asks here, and so does whoever says how long something can be restored.
Pure. Times are µs since 1970 by the database's clock.
"""

from collections.abc import Iterable
from typing import Final

from fileflux.metadata.rows import HoldRow

GRACE_S: Final = 604_800
"""Longer than any upload, read or replay takes, and than people need to notice a mistake."""
GRACE_US: Final = GRACE_S * 1_000_000


def kept_until_us(dropped_us: int, holds: Iterable[HoldRow]) -> int:
    """Return before when bytes that were dropped at `dropped_us` must not be removed."""
    held = (hold.until_us for hold in holds if hold.from_us <= dropped_us)
    return max([dropped_us + GRACE_US, *held])
