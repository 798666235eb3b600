"""The write that ingest makes by itself, to know whether writes work."""

import asyncio
from dataclasses import replace
from typing import Any

from tests.model.s3_world import S3World

from fileflux.ingest.canary import Canary


async def test_the_canary_outlives_the_class_that_its_bucket_was_made_with(
    s3_world: S3World,
) -> None:
    before = replace(s3_world.deps, default_class="single")
    first = Canary(before, worker="0")
    await first.round()
    assert first.problem is None

    left = {name: each for name, each in before.classes.items() if name != "single"}
    second = Canary(replace(before, classes=left, default_class="standard"), worker="0")
    await second.round()
    assert second.problem is None


async def test_the_canary_goes_on_after_what_nobody_expected(s3_world: S3World) -> None:
    """Once it ended in silence: the process served well, was never ready and did not say why."""
    before = s3_world.deps
    canary = Canary(replace(before, lookup=_BrokenOnce(before.lookup)), worker="0")  # type: ignore[arg-type]  # As much as it uses.
    running = asyncio.create_task(canary.run())

    async with asyncio.timeout(30):
        while not canary.has_succeeded:
            await asyncio.sleep(0.01)

    assert not running.done()
    running.cancel()


class _BrokenOnce:
    def __init__(self, lookup: Any) -> None:
        self._lookup = lookup
        self._is_broken = True

    async def find(self, bucket: str, key: bytes) -> Any:
        if self._is_broken:
            self._is_broken = False
            raise KeyError("what nobody expected")
        return await self._lookup.find(bucket, key)
