"""Records that wait for a broker that hangs are bounded, whoever is refused how often."""

import asyncio
import random
from itertools import cycle
from typing import Any, cast

import pytest
from tests.model.metadata_changes import Maker

from fileflux.core.errors import BrokerUnavailable, SlowDown
from fileflux.core.ids import BucketId
from fileflux.events.access import partition_of
from fileflux.ingest import access_log
from fileflux.ingest.access_log import AccessLog, Answered
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.metadata.rows import BucketRow


class OneBucket:
    """A bucket directory that knows one bucket, which asks."""

    def __init__(self, seed: int = 1) -> None:
        made = Maker(seed).bucket()
        self.row = BucketRow(
            bucket_id=BucketId(random.Random(seed).randbytes(16)),
            name=made.bucket,
            owner_id=made.owner_id,
            storage_class="standard",
            created_us=1,
            config={"access_log": True},
            row_stamp=1,
        )

    async def find(self, name: str) -> BucketRow:
        return self.row


def refusal() -> Answered:
    return Answered(
        request=ParsedRequest("GET", b"/b/k", "bucket", b"k", (), {}),
        request_id="0",
        received_us=1,
        source_address="192.0.2.1",
        operation="GetObject",
        status=403,
        code="AccessDenied",
    )


async def test_refusals_whose_clients_left_do_not_pile_up_while_the_broker_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that hangs up does not take its record out of the queue."""
    monkeypatch.setattr(access_log, "WAITING_MAX", 3)
    opened = asyncio.Event()

    async def hang() -> Any:
        await opened.wait()
        raise SlowDown("the broker came back for nobody")

    directory = OneBucket()
    log = AccessLog(hang, cast("Any", directory), lanes=1)
    refused = refusal()
    noted = [asyncio.create_task(log.note(refused)) for _ in range(4)]
    for _ in range(10):
        await asyncio.sleep(0)

    with pytest.raises(SlowDown):
        async with asyncio.timeout(5):
            await log.note(refused)
    opened.set()
    await asyncio.gather(*noted, return_exceptions=True)
    await log.close()


LANES = 4


class EveryLane:
    """A bucket directory whose buckets come by turns, so that each lane has one."""

    def __init__(self) -> None:
        rows = [OneBucket(seed).row for seed in range(64)]
        by_lane = {partition_of(row.bucket_id, lanes=LANES): row for row in rows}
        self._rows = cycle(by_lane[lane] for lane in range(LANES))

    async def find(self, name: str) -> BucketRow:
        return next(self._rows)


async def test_lanes_do_not_wait_for_each_other_to_learn_that_the_broker_is_away() -> None:
    """One after another they took as many time-outs as there are lanes."""
    opened = 0
    times_out = asyncio.Event()

    async def hang() -> Any:
        nonlocal opened
        opened += 1
        await times_out.wait()
        raise BrokerUnavailable("it did not answer in time")

    log = AccessLog(hang, cast("Any", EveryLane()), lanes=LANES)
    noted = [asyncio.create_task(log.note(refusal())) for _ in range(LANES)]
    async with asyncio.timeout(5):
        while any(one.waiting_count for one in log._batchers) or not opened:
            await asyncio.sleep(0)
    times_out.set()
    answers = await asyncio.gather(*noted, return_exceptions=True)

    assert [type(answer) for answer in answers] == [BrokerUnavailable] * LANES
    assert opened == 1
    with pytest.raises(BrokerUnavailable):
        await log.note(refusal())
    assert opened == 2, "who comes later asks again"
    await log.close()
