"""Two databases with the same rows have the same digest, and a comparison names every other row."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.rebuild_world import GivenRecords, rebuild, records_of, storm

from fileflux.metadata.digest import Difference, differences, digest_of
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.snapshot import TABLES, MemorySnapshot


async def two(seed: int) -> tuple[MemoryDatabase, MemoryDatabase]:
    """Return a database with a history, and what was rebuilt from it."""
    original, made = MemoryDatabase(), MemoryDatabase()
    await storm(original, MemoryReader(original), seed=seed, count=30)
    await rebuild(GivenRecords(await records_of(MemoryReader(original))), made)
    return original, made


async def compare(one: MemoryDatabase, other: MemoryDatabase) -> list[Difference]:
    found = differences(MemorySnapshot(one, page=3), MemorySnapshot(other, page=5))
    return [difference async for difference in found]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32), pages=st.tuples(st.integers(1, 9), st.integers(1, 9)))
async def test_a_rebuilt_database_has_the_digest_of_its_original(
    seed: int, pages: tuple[int, int]
) -> None:
    original, made = await two(seed)
    one = await digest_of(MemorySnapshot(original, page=pages[0]))
    other = await digest_of(MemorySnapshot(made, page=pages[1]))

    assert (one.tables, one.whole) == (other.tables, other.whole)
    assert one.head.chain_hash == other.head.chain_hash
    assert await compare(original, made) == []


async def test_any_row_that_is_changed_missing_or_extra_is_found_and_named() -> None:
    original, made = await two(1)
    whole = (await digest_of(MemorySnapshot(original))).whole
    checked = 0
    for table in TABLES:
        for key, row in list(made.tables.rows(table).items()):
            made.tables.commit({(table, key): None})
            assert (await digest_of(MemorySnapshot(made))).whole != whole
            assert [(d.table, d.kind) for d in await compare(original, made)] == [
                (table, "missing")
            ]
            assert [d.kind for d in await compare(made, original)] == ["extra"]
            made.tables.commit({(table, key): replace(row, row_stamp=row.row_stamp + 1)})
            found = await compare(original, made)
            assert [(d.kind, d.fields) for d in found] == [("changed", ("row_stamp",))]
            made.tables.commit({(table, key): row})
            checked += 1
    assert checked > 10
    assert await compare(original, made) == []


async def test_the_order_of_writing_does_not_matter() -> None:
    original, made = await two(2)
    for table in TABLES:
        rows: dict[Any, Any] = dict(made.tables.rows(table))
        for key in reversed(rows):
            made.tables.commit({(table, key): rows[key]})

    assert await digest_of(MemorySnapshot(made)) == replace(
        await digest_of(MemorySnapshot(original)),
        head=await MemoryReader(made).audit_head("main"),
    )
