"""Positions of the audit stream as a person names them: `beginning`, a number, a time."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fileflux.core.errors import Invalid
from fileflux.metadata.audit_log import position_at
from fileflux.metadata.chain import FIRST_POSITION
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.sequencer import STREAM

BEGINNING: Final = "beginning"
NOW: Final = "now"
_DIGITS_MAX: Final = 18
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PositionInvalid(Invalid):
    """A text that names no position."""


async def range_from(reader: MetadataReader, start: str) -> tuple[int, int]:
    """Return the position that is meant, and the first one that is not numbered yet.

    Raise PositionInvalid.
    """
    end = (await reader.audit_head(STREAM)).next_position
    if start == BEGINNING:
        return FIRST_POSITION, end
    if start == NOW:
        return end, end
    if start.isascii() and start.isdigit() and len(start) <= _DIGITS_MAX:
        return _numbered(int(start), end), end
    return await position_at(reader, _micros(start)), end


def _numbered(position: int, end: int) -> int:
    """Up to the end: a day without its hyphens would begin there, and leave out what was asked."""
    if position > end:
        raise PositionInvalid(f"position {position} is not numbered yet: the next one is {end}")
    return max(FIRST_POSITION, position)


def _micros(text: str) -> int:
    """ISO 8601; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PositionInvalid(f"{text} is neither `beginning`, a position nor a time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
