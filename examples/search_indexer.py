"""Keep a search index of all objects' names in one SQLite file, from the audit stream.

KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/search_indexer.py index.db   # follows
python examples/search_indexer.py index.db "holiday beach"                          # looks up

How far it has read is stored with the index, in one transaction: kill it at any moment, start it
again, and it goes on behind the last event that took effect. Needs aiokafka.
"""

import asyncio
import base64
import json
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

TOPIC = TopicPartition("fileflux.audit", 0)
PUTS = {"fileflux.object.created", "fileflux.object.copied", "fileflux.upload.completed"}
TABLES = """
    CREATE TABLE IF NOT EXISTS place (
        id INTEGER PRIMARY KEY, position INTEGER, next_offset INTEGER);
    INSERT OR IGNORE INTO place VALUES (1, 0, 0);
    CREATE TABLE IF NOT EXISTS streams (stream TEXT PRIMARY KEY, sequence INTEGER);
    CREATE TABLE IF NOT EXISTS objects (
        id INTEGER PRIMARY KEY, bucket_id TEXT, bucket TEXT, key TEXT, size INTEGER, version TEXT,
        UNIQUE (bucket_id, key));
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (bucket, key);
"""


LATE_MAX = 20_000
"""Records that may stand before the first one of a topic that was wiped and filled again."""


class Gap(Exception):
    """An event is missing: read again from further back."""


class Index:
    """The file: what is found, and up to which event."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, timeout=30)
        self.db.executescript("PRAGMA journal_mode = WAL;" + TABLES)
        self.late_left = 0

    def place(self) -> tuple[int, int]:
        """Return the position of the last event in the index, and Kafka's offset behind it."""
        position, offset = self.db.execute("SELECT position, next_offset FROM place").fetchone()
        return position, offset

    def take(self, records: Sequence[Any]) -> None:
        """Apply a run of records in one transaction; raise Gap, and change nothing, for a hole."""
        with self.db:  # Commits, or rolls back what an exception left half done.
            for record in records:
                headers = {name: value.decode() for name, value in record.headers}
                if self._is_next(headers):
                    self._apply(json.loads(record.value))
            self.db.executemany(
                "UPDATE place SET next_offset = ?", [(one.offset + 1,) for one in records[-1:]]
            )

    def _is_next(self, headers: Mapping[str, str]) -> bool:
        """Tell whether the event is new. Numbers show a hole; each bucket has its own besides."""
        position, sequence = int(headers["ce_position"]), int(headers["ce_sequence"])
        last_position, _ = self.place()
        if position == 1:
            self.late_left = 0  # What follows the first one is late no more.
        if position <= last_position:
            return False  # Published again.
        if position > last_position + 1 and self.late_left > 0:
            self.late_left -= 1
            return False  # It overtook the first ones, and comes again behind them.
        if position != last_position + 1:
            raise Gap(f"position {position} follows {last_position}")
        found = self.db.execute(
            "SELECT sequence FROM streams WHERE stream = ?", (headers["ce_stream"],)
        ).fetchone()
        last = found[0] if found else 0
        if sequence != last + 1:
            raise Gap(f"stream {headers['ce_stream']}: {sequence} follows {last}")
        self.db.execute("REPLACE INTO streams VALUES (?, ?)", (headers["ce_stream"], sequence))
        self.db.execute("UPDATE place SET position = ?", (position,))
        return True

    def _apply(self, event: dict[str, Any]) -> None:
        data = event["data"]
        if event["type"] == "fileflux.object.deleted":
            self._remove(data["bucket_id"], key_of(data))
        elif event["type"] in PUTS:
            facts = data["facts"]
            self._remove(data["bucket_id"], key_of(data))
            row = (data["bucket_id"], data["bucket"], key_of(data), facts["size"], facts["version"])
            made = self.db.execute("INSERT INTO objects VALUES (NULL, ?, ?, ?, ?, ?)", row)
            words = (made.lastrowid, data["bucket"], key_of(data))
            self.db.execute("INSERT INTO words (rowid, bucket, key) VALUES (?, ?, ?)", words)

    def _remove(self, bucket_id: str, key: str) -> None:
        found = self.db.execute(
            "SELECT id FROM objects WHERE bucket_id = ? AND key = ?", (bucket_id, key)
        ).fetchall()
        self.db.executemany("DELETE FROM objects WHERE id = ?", found)
        self.db.executemany("DELETE FROM words WHERE rowid = ?", found)

    def search(self, text: str) -> list[tuple[str, str, int]]:
        """Return (bucket, key, size) of objects whose name has all the words, the best first."""
        wanted = " ".join(f'"{word}"' for word in text.replace('"', " ").split())
        if not wanted:
            return []
        return self.db.execute(
            "SELECT o.bucket, o.key, o.size FROM words JOIN objects o ON o.id = words.rowid"
            " WHERE words MATCH ? ORDER BY rank LIMIT 100",
            (wanted,),
        ).fetchall()


def key_of(data: Mapping[str, Any]) -> str:
    """Return the key as text; bytes that are no UTF-8 stay apart from each other as \\xNN."""
    if "key" in data:
        return str(data["key"])
    return base64.b64decode(data["key_base64"]).decode(errors="backslashreplace")


async def follow(index: Index, consumer: Any) -> None:
    """Index for ever. After a gap begin at the topic's start: what we have is skipped."""
    consumer.assign([TOPIC])
    start = (await consumer.beginning_offsets([TOPIC]))[TOPIC]
    end = (await consumer.end_offsets([TOPIC]))[TOPIC]
    position, at = index.place()
    if not start <= at <= end:
        at = start  # The topic was wiped and filled again.
    while True:
        index.late_left = LATE_MAX if at == start else 0
        try:
            await read_from(at, index, consumer)
        except Gap as gap:
            if at == start and index.place()[0] == position:
                raise  # Not there either: `fileflux audit verify` says what is wrong.
            print(f"{gap}: reading again from the start", file=sys.stderr)
            at = start = (await consumer.beginning_offsets([TOPIC]))[TOPIC]
            position, _ = index.place()


async def read_from(offset: int, index: Index, consumer: Any) -> None:
    """Index for ever from an offset on; raise Gap."""
    consumer.seek(TOPIC, offset)
    is_told = False
    while True:
        found = await consumer.getmany(TOPIC, timeout_ms=500, max_records=500)
        index.take(found.get(TOPIC, []))
        if not found and 0 < index.late_left < LATE_MAX and not is_told:
            print("the topic begins later: waiting for position 1", file=sys.stderr)
            is_told = True


async def main(path: str) -> None:
    index = Index(path)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # Else a topic that is wiped meanwhile is read from its end.
    )
    await consumer.start()
    try:
        await follow(index, consumer)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(main(sys.argv[1]))
    for bucket, key, size in Index(sys.argv[1]).search(" ".join(sys.argv[2:])):
        print(f"{size}\t{f'{bucket}/{key}'!r}")  # A key may hold what moves a terminal's cursor.
