"""How the server runs our statements: by index, whatever the tables hold."""

import json
from typing import Any

from fileflux.metadata.postgres import Connections
from fileflux.metadata.queries import parameter_count, statements

WHOLE_TABLES = {
    "audit_keys": "a row per key that ever signed, read by a person",
    "page_access_keys": "a row per key, read by a digest, in the order of its bytes",
    "page_nodes": "a row per node, read by a digest, in the order of its bytes",
    "holds": "a row per hold, read now and then",
    "page_pending_blocks": "what has no number yet, read by a snapshot",
    "node_intents": "a row per node, read every few seconds",
    "pending_audit": "what has no number yet",
    "route_all": "a row per route, of which there are few, read once a second",
    "schema_versions": "a row per migration",
}


async def test_every_statement_but_a_few_looks_its_rows_up(connections: Connections) -> None:
    """A scan inside a SERIALIZABLE transaction conflicts with every writer of the table."""
    connection = await connections.take()
    scans = {}
    for name, text in statements().items():
        await connection.execute(f"PREPARE {name} AS {text}")
        arguments = ", ".join(["NULL"] * parameter_count(name))
        call = f"{name} ({arguments})" if arguments else name
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
        await connection.execute(f"DEALLOCATE {name}")
        if found := _scanned(json.loads(plan)[0]["Plan"]):
            scans[name] = found
    await connections.give_back(connection)

    assert scans.keys() <= WHOLE_TABLES.keys(), scans


def _scanned(plan: dict[str, Any]) -> list[str]:
    own = [plan["Relation Name"]] if plan["Node Type"] == "Seq Scan" else []
    return own + [table for child in plan.get("Plans", ()) for table in _scanned(child)]


async def test_the_oldest_pending_blocks_are_found_without_reading_all(
    connections: Connections,
) -> None:
    """After a long outage of the sequencer a poll must not cost the whole backlog."""
    connection = await connections.take()
    plan = await connection.fetchval(
        "EXPLAIN (FORMAT JSON) " + statements()["pending_audit"].replace("$1", "10")
    )
    await connections.give_back(connection)

    assert '"Index Name": "audit_pending_in_order"' in plan
    assert '"Sort"' not in plan


async def test_a_read_costs_its_keys_however_many_the_bucket_holds(
    connections: Connections,
) -> None:
    """Before the first ANALYZE the planner knows nothing of the table, and writes come first."""
    connection = await connections.take()
    await connection.execute(MANY_OBJECTS)
    await connection.execute(f"PREPARE reads AS {statements()['find_objects']}")
    plan = await connection.fetchval("EXPLAIN (FORMAT JSON) EXECUTE reads (NULL, NULL, NULL)")
    await connection.execute("DEALLOCATE reads")
    await connections.give_back(connection)

    conditions = _index_conditions(json.loads(plan)[0]["Plan"], table="objects")

    assert conditions
    assert all("key" in one for one in conditions), plan


MANY_OBJECTS = """
    INSERT INTO objects (bucket_id, key, version_id, stamp, row_stamp, size, etag, meta, manifest,
        content_id, storage_class, shared)
    SELECT '\\x01', int8send(n), '\\x01', n, n, 1, '', '{}', '\\x', '\\x01', 'STANDARD', false
    FROM generate_series(1, 5000) AS n
"""


async def test_deleting_a_bucket_costs_the_same_whatever_was_deleted_in_it(
    connections: Connections,
) -> None:
    """Its stamp comes after every floor of the bucket, of which there may be millions."""
    connection = await connections.take()
    await connection.execute(MANY_FLOORS)
    plan = await connection.fetchval(
        "EXPLAIN (ANALYZE, FORMAT JSON) "
        + statements()["load_bucket_floor"].replace("$1", FLOORS_BUCKET)
    )
    newest = await connection.fetchval(statements()["load_bucket_floor"], b"\x0b" * 16)
    await connections.give_back(connection)

    assert newest == 5000
    assert '"Index Name": "floors_by_bucket"' in plan
    assert _rows_read(json.loads(plan)[0]["Plan"]) == 1, plan


FLOORS_BUCKET = "decode(repeat('0b', 16), 'hex')"
MANY_FLOORS = """
    INSERT INTO floors (table_name, key, stamp)
    SELECT 'objects', decode(repeat('0b', 16), 'hex') || int8send((n * 7919) % 5000), n
    FROM generate_series(1, 5000) AS n
"""


def _rows_read(plan: dict[str, Any]) -> float:
    own = plan["Actual Rows"] if "Relation Name" in plan else 0
    return float(own + sum(_rows_read(child) for child in plan.get("Plans", ())))


def _index_conditions(plan: dict[str, Any], *, table: str) -> list[str]:
    own = [plan.get("Index Cond", "")] if plan.get("Relation Name") == table else []
    below = (_index_conditions(child, table=table) for child in plan.get("Plans", ()))
    return own + [one for found in below for one in found]
