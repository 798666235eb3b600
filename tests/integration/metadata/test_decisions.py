"""Decisions on a real database: it loads and stores what the in-memory twin loads and stores."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.model.change_storm import Storm, batches

from fileflux.core.changes import Change, Outcome
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.memory_loads import load_rows
from fileflux.metadata.memory_tables import MemoryTables
from fileflux.metadata.memory_tx import put_writes
from fileflux.metadata.overlay import next_stamp
from fileflux.metadata.ports import Transaction
from fileflux.metadata.postgres import Connections, PostgresDatabase, PostgresReader
from fileflux.metadata.replay import Floors, Tables, empty_tables, replay
from fileflux.metadata.row_keys import ROW_TYPES, key_of
from fileflux.metadata.rows import FloorRow, Rows, Writes
from fileflux.metadata.rows_codec import (
    async_row,
    bucket_row,
    holder_row,
    key_row,
    node_row,
    object_row,
    part_row,
    upload_row,
    user_row,
)

ROW_OF: dict[str, Callable[[Any], Any]] = {
    "buckets": bucket_row,
    "objects": object_row,
    "uploads": upload_row,
    "parts": part_row,
    "holders": holder_row,
    "users": user_row,
    "access_keys": key_row,
    "nodes": node_row,
    "async_uploads": async_row,
}


async def _decide(
    database: PostgresDatabase, changes: list[Change]
) -> tuple[Rows, Writes, tuple[Outcome, ...]]:
    async def work(transaction: Transaction) -> tuple[Rows, Writes, tuple[Outcome, ...]]:
        rows = await transaction.load_rows(footprint(changes))
        writes, outcomes = apply(rows, changes)
        await transaction.store_writes(writes)
        return rows, writes, outcomes

    return await database.run(work)


async def _stored(connections: Connections) -> tuple[Tables, Floors]:
    connection = await connections.take()
    tables, floors = empty_tables(), Floors()
    for table in ROW_TYPES:
        for found in await connection.fetch(f"SELECT * FROM {table}"):  # noqa: S608
            row = ROW_OF[table](found)
            tables[table][key_of(row)[1]] = row
    for found in await connection.fetch("SELECT * FROM floors"):
        floor = FloorRow(table=found["table_name"], key=found["key"], stamp=found["stamp"])
        floors[(floor.table, floor.key)] = floor
    await connections.give_back(connection)
    return tables, floors


async def _empty(connections: Connections) -> None:
    connection = await connections.take()
    for table in (*ROW_TYPES, "floors", "garbage", "audit_pending", "bundles"):
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608
    await connections.give_back(connection)


def _same_but_for_surplus(found: Rows, wanted: Rows) -> None:
    """`Rows` allows more holders, and what drops with them, than decide."""
    assert next_stamp(found) == next_stamp(wanted)
    for name in ("clock_us", "buckets", "bucket_names", "non_empty", "objects"):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("users", "user_names", "keys", "nodes", "async_uploads"):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("uploads", "open_uploads", "parts"):
        assert getattr(found, name).items() >= getattr(wanted, name).items(), name
    for content_id, holders in wanted.holders.items():
        assert found.holders.get(content_id, {}).items() >= holders.items()


@pytest.mark.parametrize("seed", range(6))
async def test_any_sequence_of_changes_reads_and_leaves_the_same_rows_as_in_memory(
    database: PostgresDatabase, reader: PostgresReader, connections: Connections, seed: int
) -> None:
    """And its audit records alone rebuild every audited row of the real tables (I9)."""
    await _empty(connections)
    rng = random.Random(seed)
    storm, tables = Storm(rng), MemoryTables()
    changes: list[list[Change]] = [[storm.maker.user()]]
    wanted = [["ok"]]
    for size in batches(rng, 60):
        drawn = [storm.change() for _ in range(size)]
        changes.append([change for change, _ in drawn])
        wanted.append([status for _, status in drawn])

    for batch, statuses in zip(changes, wanted, strict=True):
        rows, writes, outcomes = await _decide(database, batch)
        view = tables.open()
        _same_but_for_surplus(rows, load_rows(view, footprint(batch), clock_us=rows.clock_us))
        put_writes(view, writes)
        view.commit()
        view.close()
        assert [outcome.status for outcome in outcomes] == statuses

    blocks = await reader.pending_audit(limit=100_000)
    records = [decode_record(r.payload) for _, _, raw in blocks for r in unpack_pending(raw)]
    rebuilt, floors = empty_tables(), Floors()
    replay(records, rebuilt, floors)
    assert (rebuilt, floors) == await _stored(connections)
    memory = {table: dict(tables.rows(table)) for table in ROW_TYPES}
    assert {table: rebuilt[table] for table in ROW_TYPES} == memory
