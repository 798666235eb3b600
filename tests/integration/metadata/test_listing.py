"""Listings on a real database: the right pages, at the price of the page and not of the bucket."""

import json
import random
from typing import Any

import pytest

from fileflux.core.ids import BucketId
from fileflux.metadata.listing import group_of, prefix_end
from fileflux.metadata.ports import ListedKeys
from fileflux.metadata.postgres import Connections, PostgresReader
from fileflux.metadata.queries import statement

BIG = BucketId(b"B" * 16)
BIG_KEYS = 20_000
ODD_KEYS = (
    b"a",
    b"a/",
    b"a/b",
    b"a/b/c",
    b"a//",
    b"a0",
    b"b\x00c",
    b"\xc3\xa9/x",
    b"\xf4\x8f",
    b"z",
)


async def _insert(connections: Connections, bucket_id: BucketId, keys: list[bytes]) -> None:
    connection = await connections.take()
    await connection.execute(
        "INSERT INTO objects SELECT $1, key, $1, 1, 1, 5, 'etag', "
        '\'{"headers": {}, "user": {}, "checksums": {}, "checksum_type": ""}\', '
        "'\\x0100', $1, 'standard', false, NULL "
        "FROM unnest($2::BYTEA[]) AS key ON CONFLICT (bucket_id, key) DO NOTHING",
        bucket_id,
        keys,
    )
    await connections.give_back(connection)


def _expected(keys: list[bytes], prefix: bytes, delimiter: bytes, after: bytes) -> list[bytes]:
    """Return the entries of a whole listing, from the definition."""
    entries = set()
    for key in sorted(keys):
        if key.startswith(prefix) and key > after:
            group = group_of(key, prefix, delimiter)
            entries.add(key if group is None else group)
    entries.discard(after)
    return sorted(entries)


def _entries(page: ListedKeys) -> list[bytes]:
    return sorted([row.key for row in page.rows] + list(page.common_prefixes))


async def _walk(reader: PostgresReader, bucket_id: BucketId, **given: Any) -> list[bytes]:
    found: list[bytes] = []
    after = given.pop("after")
    while True:
        page = await reader.list_objects(bucket_id, after=after, **given)
        found += _entries(page)
        if not page.truncated:
            return found
        assert page.next_after is not None
        after = page.next_after


@pytest.mark.parametrize("seed", range(4))
async def test_pages_joined_are_the_listing_whatever_the_keys_and_the_page_size(
    connections: Connections, reader: PostgresReader, seed: int
) -> None:
    rng = random.Random(seed)
    bucket_id = BucketId(rng.randbytes(16))
    keys = [
        b"".join(rng.choices((b"a", b"/", b"b", b"\xc3\xa9"), k=rng.randint(1, 7)))
        for _ in range(80)
    ]
    keys += ODD_KEYS
    await _insert(connections, bucket_id, keys)
    for _ in range(40):
        prefix = rng.choice((b"", b"a", b"a/", b"b", b"\xc3\xa9", b"nothing"))
        delimiter = rng.choice((b"", b"/", b"ab", b"\xc3\xa9"))
        after = rng.choice((b"", b"a", b"a/", b"b/b", b"zz", rng.choice(keys)))
        given: dict[str, Any] = {"prefix": prefix, "delimiter": delimiter, "after": after}
        found = await _walk(reader, bucket_id, max_keys=rng.choice((1, 2, 7, 100)), **given)

        assert found == _expected(keys, **given), given


async def test_a_page_of_a_big_bucket_reads_no_more_rows_than_it_shows(
    connections: Connections,
) -> None:
    """One row an entry with a delimiter, however many keys roll up behind each of them."""
    await _insert(connections, BIG, [b"dir/%06d" % n for n in range(BIG_KEYS)])
    await _insert(connections, BIG, [b"tree/%04d/%06d" % (n % 100, n) for n in range(BIG_KEYS)])
    bucket = f"'\\x{BIG.hex()}'"
    root = f"{bucket}, '', '\\x{prefix_end(b'').hex()}', '/', 1, '0', 51"
    tree = f"{bucket}, 'tree/', 'tree0', '/', 6, '0', 51"
    flat = f"{bucket}, 'dir/', 'dir0', 51"

    assert await _rows_read(connections, "list_objects_grouped", root) <= 2 * 2 + 1
    assert await _rows_read(connections, "list_objects_grouped", tree) <= 2 * 51 + 1
    assert 50 <= await _rows_read(connections, "list_objects", flat) <= 51


async def _rows_read(connections: Connections, name: str, arguments: str) -> float:
    """Return how many rows of `objects` the statement read, by the server's own count."""
    connection = await connections.take()
    await connection.execute("ANALYZE objects")
    await connection.execute(f"PREPARE {name} AS {statement(name)}")
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({arguments})")
    await connection.execute(f"DEALLOCATE {name}")
    await connections.give_back(connection)
    return _count(json.loads(text)[0]["Plan"])


def _count(plan: dict[str, Any]) -> float:
    rows = 0.0
    if plan.get("Relation Name") == "objects":
        filtered = plan.get("Rows Removed by Filter", 0)
        rows = (plan["Actual Rows"] + filtered) * plan["Actual Loops"]
    return rows + sum(_count(child) for child in plan.get("Plans", ()))
