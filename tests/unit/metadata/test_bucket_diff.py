"""What changed in a bucket is what two pictures of it, before and after, differ in."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.metadata_changes import Maker
from tests.model.rebuild_world import (
    GivenRecords,
    number,
    rebuild,
    records_of,
    storm,
    write,
)

from fileflux.core.errors import Invalid, NoSuchBucket
from fileflux.metadata.bucket_diff import KeyChange, bucket_diff
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import Transaction
from fileflux.metadata.rebuild import Until
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.sequencer import STREAM


async def picture(records: list[NumberedRecord], bucket: str) -> dict[bytes, Any]:
    """Return the bucket's objects as they were behind these records."""
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    ids = [row.bucket_id for row in made.tables.rows("buckets").values() if row.name == bucket]
    rows = made.tables.rows("objects").items()
    return {key: row for (bucket_id, key), row in rows if bucket_id in ids}


def summary(change: KeyChange) -> tuple[Any, ...]:
    return (change.key, change.kind, change.size_before, change.size_after, change.etag)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32))
async def test_a_diff_is_what_two_pictures_differ_in(seed: int) -> None:
    database = MemoryDatabase()
    await storm(database, MemoryReader(database), seed=seed, count=60)
    records = await records_of(MemoryReader(database))
    rng = random.Random(seed)
    start, end = sorted(rng.sample(range(1, len(records) + 1), 2))
    for bucket in ("red", "blue"):
        before, after = [await picture(records[:at], bucket) for at in (start, end)]
        wanted = []
        for key in sorted(before.keys() | after.keys()):
            old: Any = before.get(key)
            new: Any = after.get(key)
            if old is None:
                wanted.append((key, "added", None, new.size, new.etag))
            elif new is None:
                wanted.append((key, "deleted", old.size, None, ""))
            elif old.version_id != new.version_id:
                wanted.append((key, "replaced", old.size, new.size, new.etag))
        try:
            found = await bucket_diff(
                MemoryReader(database),
                bucket,
                start=Until(position=start),
                end=Until(position=end),
            )
        except NoSuchBucket:
            found = []
        assert [summary(change) for change in found] == wanted


async def test_times_and_positions_cut_the_same_stretch() -> None:
    database, maker = MemoryDatabase(), Maker(3)
    bucket = maker.bucket()
    await write(database, maker.user(), bucket)
    for name in (b"a", b"b", b"c", b"\xff"):
        await write(database, maker.put(bucket, name))
    await number(database, MemoryReader(database))
    records = await records_of(MemoryReader(database))
    stamps = [data_of(record)["stamp"] for record in records]
    cuts = [
        (Until(position=3), Until(position=5)),
        (Until(at_us=stamps[2]), Until(at_us=stamps[4])),
        (Until(at_us=stamps[2]), Until(position=5)),
    ]
    for start, end in cuts:
        found = await bucket_diff(MemoryReader(database), "photos", start=start, end=end)
        assert [one.key for one in found] == [b"b", b"c"]
    found = await bucket_diff(MemoryReader(database), "photos", start=Until(position=5))
    assert [(one.key, one.user_name, one.operation) for one in found] == [
        (b"\xff", "ada", "PutObject")
    ]


async def test_a_bucket_that_never_was_is_said_so() -> None:
    with pytest.raises(NoSuchBucket, match="no bucket never"):
        await bucket_diff(MemoryReader(MemoryDatabase()), "never")


async def never_asked() -> bool | None:
    raise AssertionError("every commit is known")


async def test_a_diff_over_records_that_left_the_database_is_refused() -> None:
    """Without the archive it would be silent about their changes."""
    database = MemoryDatabase()
    await storm(database, MemoryReader(database), seed=1, count=60)

    async def drop(transaction: Transaction) -> bool:
        await transaction.drop_blocks(STREAM, 1, 2)
        return True

    await database.run(drop, settled=never_asked)
    with pytest.raises(Invalid, match="FILEFLUX_ARCHIVE_URL"):
        await bucket_diff(MemoryReader(database), "red")
