"""Accesses on a real broker: there when they are answered, or not answered."""

import random
import uuid
from typing import Any, cast

import pytest
from tests.model.metadata_changes import Maker

from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.ids import BucketId
from fileflux.events.access import partition_of
from fileflux.events.kafka import KafkaBroker
from fileflux.events.topics import ACCESS, all_topics
from fileflux.ingest.access_log import AccessLog, Answered
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.metadata.rows import BucketRow

pytestmark = pytest.mark.kafka
LANES = 4


class OneBucket:
    """A bucket directory that knows one bucket, which asks."""

    def __init__(self) -> None:
        made = Maker(random.randrange(1 << 30)).bucket()
        self.row = BucketRow(
            bucket_id=BucketId(uuid.uuid4().bytes),
            name=made.bucket,
            owner_id=made.owner_id,
            storage_class="standard",
            created_us=1,
            config={"access_log": True},
            row_stamp=1,
        )

    async def find(self, name: str) -> BucketRow:
        return self.row


def refused(bucket: BucketRow, number: int) -> Answered:
    return Answered(
        request=ParsedRequest("GET", b"/b/k", bucket.name, b"k%d" % number, (), {}),
        request_id=f"{number:016X}",
        received_us=number,
        source_address="192.0.2.1",
        operation="GetObject",
        status=403,
        code="AccessDenied",
    )


async def test_what_was_noted_is_on_the_topic_in_order(kafka_bootstrap: str) -> None:
    broker = KafkaBroker(
        kafka_bootstrap, lanes=LANES, slots=8, clock=SystemClock(), topics=all_topics()
    )
    await broker.ensure_topics()
    directory = OneBucket()
    place = (ACCESS, partition_of(directory.row.bucket_id, lanes=LANES))
    source = await broker.source([place])
    offset = await source.seek_to_end(*place)
    log = AccessLog(broker.safe_publisher, cast("BucketDirectory", directory), lanes=LANES)
    for number in range(20):
        await log.note(refused(directory.row, number))

    _, end = await source.bounds(*place)
    assert end - offset == 20, "each is there when `note` returns"
    found: list[Any] = []
    while len(found) < 20:
        found += await source.fetch()
    assert [dict(one.headers)["ce_id"] for one in found] == [b"%016X" % n for n in range(20)]
    assert {one.key for one in found} == {directory.row.bucket_id}
    await log.close()
    await broker.close()


async def test_without_a_broker_it_is_said_in_time() -> None:
    broker = KafkaBroker(
        "127.0.0.1:9", lanes=LANES, slots=8, clock=SystemClock(), topics=all_topics()
    )
    directory = OneBucket()
    log = AccessLog(broker.safe_publisher, cast("BucketDirectory", directory), lanes=LANES)

    with pytest.raises(BrokerUnavailable):
        await log.note(refused(directory.row, 1))
    await log.close()
    await broker.close()
