"""Which position of the audit stream a restore goes back to, and the hold that it takes."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileflux.core.changes import CreateHold, Outcome
from fileflux.core.ids import UploadId, new_id
from fileflux.metadata.audit_log import CLOCK_SLACK_US, position_before
from fileflux.metadata.chain import FIRST_POSITION
from fileflux.metadata.hold_rules import in_force
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.rebuild import Until
from fileflux.metadata.record_sources import RecordSource
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.restore_bucket import RestoreRefused
from fileflux.metadata.rows import HoldRow
from fileflux.metadata.sequencer import STREAM

HOLD_KIND: Final = "restore"
HOLD_US: Final = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """`position`: the last one that counts. `from_us`: nothing behind it took effect before."""

    position: int
    from_us: int


async def moment_of(reader: MetadataReader, source: RecordSource, as_of: Until) -> Moment:
    """Return what a position or a time means, as `rebuild --until` does; raise RestoreRefused."""
    end = (await reader.audit_head(STREAM)).next_position
    if as_of.at_us is None:
        position = as_of.position or 0
    else:
        position = await _position_at(reader, source, as_of.at_us, end)
    if position < FIRST_POSITION:
        raise RestoreRefused("nothing had happened yet at that time")
    if position >= end:
        raise RestoreRefused(f"the audit stream ends at position {end - 1}, before {position}")
    async for run in source.read(position):
        return Moment(position, data_of(run[0])["stamp"] - CLOCK_SLACK_US)
    raise RestoreRefused(f"the record at position {position} cannot be read")


async def _position_at(reader: MetadataReader, source: RecordSource, at_us: int, end: int) -> int:
    if at_us > await reader.clock_us():
        raise RestoreRefused("--as-of is in the future: nobody knows yet what happens then")
    position = await position_before(reader, STREAM, at_us - CLOCK_SLACK_US)
    async for run in source.read(position):
        for record in run:
            if data_of(record)["stamp"] > at_us:
                return record.position - 1
    return end - 1


class RestoreHold:
    """Keeps history from the moment on, and remembers when the first run of a restore began.

    `goes_on`: with an earlier run, which was interrupted.
    """

    def __init__(self, reader: MetadataReader, name: str, moment: Moment) -> None:
        self._reader = reader
        self._reason = f"{name} as of position {moment.position}"
        self._moment = moment
        self.goes_on = False

    async def change(self, rng: random.Random, who: Callable[[], Mapping[str, Any]]) -> CreateHold:
        """Return the change that makes it, or makes that of an earlier run last."""
        now_us = await self._reader.clock_us()
        known = [hold.hold_id for hold in in_force(await self._mine(), now_us)]
        self.goes_on = bool(known)
        return CreateHold(
            **who(),
            hold_id=known[0] if known else UploadId(new_id(rng)),
            kind=HOLD_KIND,
            reason=self._reason,
            from_position=self._moment.position,
            from_us=self._moment.from_us,
            until_us=now_us + HOLD_US,
        )

    async def began_us(self) -> int:
        """Return when a run would have begun: the earlier one that it goes on with, or now."""
        now_us = await self._reader.clock_us()
        known = [hold.created_us for hold in in_force(await self._mine(), now_us)]
        return known[0] if known else now_us

    async def made(self, change: CreateHold, outcome: Outcome) -> HoldRow:
        """Return its row; raise RestoreRefused."""
        found = [hold for hold in await self._mine() if hold.hold_id == change.hold_id]
        if not outcome.ok or not found:
            raise RestoreRefused(f"no hold could be taken: {outcome.status} {outcome.detail}")
        return found[0]

    async def _mine(self) -> list[HoldRow]:
        wanted = (HOLD_KIND, self._reason)
        return [one for one in await self._reader.holds() if (one.kind, one.reason) == wanted]
