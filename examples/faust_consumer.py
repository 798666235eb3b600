"""Objects and bytes of every bucket, in a Faust table, from the audit stream.

KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/faust_consumer.py worker --without-web

The table is kept in a topic of its own and read again after a restart. Faust delivers at least
once, so a bucket's sequence stands beside its sums: what was added already is skipped, and what is
missing is counted. Needs faust-streaming.
"""

import json
import os
import sys
from typing import Any

import faust

app = faust.App(
    os.environ.get("FAUST_APP", "fileflux-usage"),
    broker=[
        f"kafka://{server}"
        for server in os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092").split(",")
    ],
    store="memory://",
    topic_partitions=1,
    topic_replication_factor=1,  # 3, where there are three brokers.
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    datadir=os.environ.get("FAUST_DATADIR", "faust-data"),
)
audit = app.topic(
    "fileflux.audit",
    key_type=bytes,
    value_type=bytes,
    key_serializer="raw",
    value_serializer="raw",
)
out = sys.stdout  # Taken now: the worker puts a log in its place.
buckets = app.Table("buckets", default=dict, partitions=1)


def added(held: dict[str, Any], sequence: int, data: dict[str, Any]) -> dict[str, Any] | None:
    """Return a bucket's sums after an event; None for an event that is in them already."""
    last = held.get("sequence", 0)
    if sequence <= last:
        return None
    objects, size = data["facts"].get("usage", {}).get(data["bucket_id"], (0, 0))
    return {
        "bucket": data["bucket"],
        "sequence": sequence,
        "objects": held.get("objects", 0) + objects,
        "bytes": held.get("bytes", 0) + size,
        "missing": held.get("missing", 0) + sequence - last - 1,
    }


@app.agent(audit)
async def add_up(stream: Any) -> None:
    async for event in stream.events():
        data = json.loads(event.value)["data"]
        if data["bucket_id"] is None:
            continue  # Users, keys and nodes: of no bucket.
        sums = added(buckets[data["bucket_id"]], int(event.headers["ce_sequence"]), data)
        if sums is not None:
            buckets[data["bucket_id"]] = sums
            print(json.dumps(sums), file=out, flush=True)


if __name__ == "__main__":
    app.main()
