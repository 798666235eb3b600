"""Positions of the audit stream as people write them."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fileflux.webhooks.positions import PositionInvalid, range_from


class Reader:
    """A stream whose next position is 8."""

    async def audit_head(self, stream: str) -> Any:
        return SimpleNamespace(next_position=8)


READER = cast("Any", Reader())


async def test_a_position_is_the_beginning_now_or_one_that_is_numbered_or_comes_next() -> None:
    found = [(await range_from(READER, text))[0] for text in ("beginning", "now", "0", "3", "8")]
    assert found == [1, 8, 1, 3, 8]


@pytest.mark.parametrize("text", ["9", "20261130", "9" * 30, "-1", "+3", "٣", "soon", ""])
async def test_what_is_beyond_the_end_or_no_position_is_refused_and_is_not_now(text: str) -> None:
    """20261130 is meant as a day: to begin now instead would leave out what happened since."""
    with pytest.raises(PositionInvalid):
        await range_from(READER, text)
