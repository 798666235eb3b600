"""The sums of the Faust example: each event once, and what is missing is counted."""

import runpy
from pathlib import Path
from typing import Any

import orjson
from tests.model.metadata_changes import Maker
from tests.model.metadata_store import Store

from fileflux.metadata.audit_record import encode_record

ROOT = Path(__file__).parents[3]


def bucket_events() -> list[dict[str, Any]]:
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    store.run(maker.user(), bucket)
    found = [store.writes.audit[-1]]
    for change in (
        maker.put(bucket, b"a"),
        maker.put(bucket, b"b", manifest=maker.chunks(900)),
        maker.delete(bucket, b"a"),
    ):
        store.run(change)
        found += store.writes.audit
    return [orjson.loads(encode_record(record))["data"] for record in found]


def test_sums_are_what_the_bucket_holds_and_repeated_events_change_nothing() -> None:
    added = runpy.run_path(str(ROOT / "examples/faust_consumer.py"))["added"]
    events = bucket_events()
    held: dict[str, Any] = {}
    for sequence, data in enumerate(events, start=1):
        held = added(held, sequence, data)
        assert added(held, sequence, data) is None
    wanted = {"bucket": "photos", "sequence": 4, "objects": 1, "bytes": 900, "missing": 0}
    assert held == wanted

    without_one = added(added({}, 1, events[0]), 3, events[2])
    assert (without_one["objects"], without_one["missing"]) == (1, 1)
