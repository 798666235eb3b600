"""Buckets are remembered for a second, and no longer than that."""

from tests.model.s3_caller import Caller
from tests.model.s3_world import S3World

from fileflux.core.clock import ManualClock
from fileflux.ingest.bucket_directory import FRESH_S, BucketDirectory


async def test_rows_that_are_no_longer_fresh_take_no_memory(
    alice: Caller, s3_world: S3World
) -> None:
    """A row may have a notification configuration of 64 KiB, and a tenant ten thousand buckets."""
    clock = ManualClock()
    directory = BucketDirectory(s3_world.reader, clock)
    for name in ("one", "two", "three"):
        await alice("PUT", f"/{name}")
    await directory.find("one")
    await directory.find("two")
    assert len(directory) == 2
    clock.advance(FRESH_S)
    await directory.find("three")
    assert len(directory) == 1
