"""Holds: history that stays until a time, at most 30 days ahead."""

from dataclasses import replace
from typing import Final

from fileflux.core.changes import CreateHold, Outcome, ReleaseHold
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused
from fileflux.metadata.rows import HoldRow

HOLD_DAYS_MAX: Final = 30
HOLD_US_MAX: Final = HOLD_DAYS_MAX * 24 * 3600 * 1_000_000


def create_hold(state: Overlay, change: CreateHold) -> Outcome:
    """Make a hold, or let one that is there last until another time; both by database time."""
    if not state.clock_us < change.until_us <= state.clock_us + HOLD_US_MAX:
        return refused(change, "InvalidArgument", f"a hold lasts {HOLD_DAYS_MAX} days at most")
    former = state.holds.get(change.hold_id)
    if former is None:
        row = HoldRow(
            hold_id=change.hold_id,
            kind=change.kind,
            reason=change.reason,
            from_position=change.from_position,
            from_us=change.from_us,
            until_us=change.until_us,
            created_us=state.clock_us,
            row_stamp=state.stamp,
        )
    else:
        row = replace(former, until_us=change.until_us, row_stamp=state.stamp)
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def release_hold(state: Overlay, change: ReleaseHold) -> Outcome:
    row = state.holds.get(change.hold_id)
    if row is None:
        return refused(change, "NoSuchHold")
    state.remove(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)
