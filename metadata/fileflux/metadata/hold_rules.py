"""What holds keep: bytes that nobody references, beyond their grace period, and audit records.

Whoever removes either asks here, and so does whoever says how long something can be restored.
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


def in_force(holds: Iterable[HoldRow], now_us: int) -> list[HoldRow]:
    """Return the holds that have not run out."""
    return [hold for hold in holds if hold.until_us > now_us]


def keeps_position(holds: Iterable[HoldRow], position: int) -> bool:
    """Tell whether one of these holds wants the record at `position` to stay in the database."""
    return any(hold.from_position <= position for hold in holds)
