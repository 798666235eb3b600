"""The write that ingest makes by itself, to know whether writes work."""

from dataclasses import replace

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
