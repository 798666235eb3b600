"""Records that wait for a broker that hangs are bounded, whoever is refused how often."""

import asyncio
import random
from typing import Any, cast

import pytest
from tests.model.metadata_changes import Maker

from fileflux.core.errors import SlowDown
from fileflux.core.ids import BucketId
from fileflux.ingest import access_log
from fileflux.ingest.access_log import AccessLog, Answered
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.metadata.rows import BucketRow


class OneBucket:
    """A bucket directory that knows one bucket, which asks."""

    def __init__(self) -> None:
        made = Maker(1).bucket()
        self.row = BucketRow(
            bucket_id=BucketId(random.Random(1).randbytes(16)),
            name=made.bucket,
            owner_id=made.owner_id,
            storage_class="standard",
            created_us=1,
            config={"access_log": True},
            row_stamp=1,
        )

    async def find(self, name: str) -> BucketRow:
        return self.row


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
    refused = Answered(
        request=ParsedRequest("GET", b"/b/k", directory.row.name, b"k", (), {}),
        request_id="0",
        received_us=1,
        source_address="192.0.2.1",
        operation="GetObject",
        status=403,
        code="AccessDenied",
    )
    noted = [asyncio.create_task(log.note(refused)) for _ in range(4)]
    for _ in range(10):
        await asyncio.sleep(0)

    with pytest.raises(SlowDown):
        async with asyncio.timeout(5):
            await log.note(refused)
    opened.set()
    await asyncio.gather(*noted, return_exceptions=True)
    await log.close()
