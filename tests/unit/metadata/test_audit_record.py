"""Audit records as stored bytes: everything comes back, nothing secret is told."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.model.any_rows import ROWS
from tests.model.metadata_changes import ACTOR, AT_US, Maker
from tests.model.metadata_store import Store

from fileflux.core.changes import CreateKey
from fileflux.core.errors import EventInvalid
from fileflux.metadata.audit_record import (
    SYSTEM_STREAM,
    decode_record,
    encode_record,
    pending_block,
    unpack_pending,
    usage_in,
)
from fileflux.metadata.row_json import (
    effect_from_json,
    effect_to_json,
    row_from_json,
    row_to_json,
)
from fileflux.metadata.row_keys import key_of
from fileflux.metadata.rows import AuditRecord, ObjectRow, PartRow, Row, RowWrite, Writes


@given(row=ROWS)
def test_a_row_comes_back_from_its_json_as_it_was(row: Row) -> None:
    table, key = key_of(row)
    stored = json.loads(json.dumps(row_to_json(row)))

    assert row_from_json(table, stored) == row
    for effect in (RowWrite(table, key, row), RowWrite(table, key, None)):
        assert effect_from_json(json.loads(json.dumps(effect_to_json(effect)))) == effect


@given(row=ROWS, data=st.data())
def test_a_damaged_field_makes_a_row_invalid(row: Row, data: st.DataObject) -> None:
    """What comes from an archive is checked, and says so in one way."""
    table, _ = key_of(row)
    stored = row_to_json(row)
    name = data.draw(st.sampled_from(sorted(stored)))
    kinds: dict[type, Any] = {str: "@", int: 5, dict: {"a": []}, bool: True, float: 0.5}
    others = [value for kind, value in kinds.items() if not isinstance(stored[name], kind)]
    damaged = data.draw(st.sampled_from([[], *others]))
    if isinstance(stored[name], float) or stored[name] is None:
        damaged = []
    with pytest.raises(EventInvalid):
        row_from_json(table, {**stored, name: damaged})


@given(row=ROWS)
def test_a_row_from_before_a_field_and_from_after_one_is_read(row: Row) -> None:
    table, _ = key_of(row)
    stored = {**row_to_json(row), "of_a_later_version": 1}
    assert row_from_json(table, stored) == row
    stored.pop("shared", None)
    unshared = replace(row, shared=False) if isinstance(row, ObjectRow | PartRow) else row
    assert row_from_json(table, stored) == unshared


def make_record(**fields: Any) -> AuditRecord:
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    store.run(maker.user(), bucket, maker.put(bucket, b"k"))
    return replace(store.writes.audit[-1], **fields)


@pytest.mark.parametrize("key", [b"plain", "grün ☂".encode(), b"", b"\xff\x00", b"a\x00b"])
def test_a_record_comes_back_with_any_key(key: bytes) -> None:
    record = make_record(key=key)
    stored = encode_record(record)

    assert decode_record(stored) == record
    data = json.loads(stored)["data"]
    if key == b"\xff\x00":
        assert base64.b64decode(data["key_base64"]) == key
    else:
        assert data["key"].encode() == key


def test_a_record_is_a_cloud_event() -> None:
    record = make_record()
    event = json.loads(encode_record(record))

    assert event["specversion"] == "1.0"
    assert event["type"] == "fileflux.object.created"
    assert event["source"] == "/buckets/photos"
    assert event["id"] == record.record_id.hex()
    assert event["time"].startswith("2026-01-01T00:00:00.")
    assert event["time"].endswith("Z")
    assert event["datacontenttype"] == "application/json"
    assert event["data"]["actor"]["request_id"] == ACTOR.request_id


def test_accepting_and_storing_one_upload_are_two_events() -> None:
    """(source, id) names a CloudEvent for ever; the refusal is another type than the success."""
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    put = maker.put(bucket, b"k", is_async=True)
    store.run(maker.user(), bucket, maker.accept(put), put)
    events = [json.loads(encode_record(record)) for record in store.writes.audit[-2:]]

    assert [event["id"] for event in events] == [
        put.upload_id.hex() + "-accepted",
        put.upload_id.hex(),
    ]
    refused = replace(store.writes.audit[-1], facts={"outcome": "NoSuchBucket"})
    assert json.loads(encode_record(refused))["type"] == "fileflux.object.refused"


def test_no_secret_is_told_in_clear() -> None:
    """The encrypted secret key is base64 of what was encrypted; password hashes are Argon2's."""
    maker, store = Maker(), Store()
    key = CreateKey(
        upload_id=maker.id(),
        actor=ACTOR,
        at_us=AT_US,
        user_id=ACTOR.user_id,
        access_key="AKID",
        secret=b"\x01ciphertext",
    )
    store.run(maker.user(), key)
    stored = encode_record(store.writes.audit[-1])

    assert b"ciphertext" not in stored
    data = json.loads(stored)["data"]
    assert "secret" not in data["facts"]
    assert base64.b64decode(data["effects"][0]["row"]["secret"]) == b"\x01ciphertext"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"null", b'{"data":{"version":1}}', b'{"data":{"version":2}}', b"\xff"],
)
def test_what_is_no_record_is_invalid(raw: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode_record(raw)


def test_a_transactions_records_are_one_block_in_their_order() -> None:
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    store.run(maker.user(), bucket, maker.put(bucket, b"k"))
    block = pending_block(store.writes)

    assert block is not None
    records = unpack_pending(block[1])
    assert [record.stream for record in records] == [
        SYSTEM_STREAM,
        bucket.bucket_id,
        bucket.bucket_id,
    ]
    assert [decode_record(r.payload) for r in records] == store.writes.audit
    assert usage_in(records[2].payload) == {bucket.bucket_id: (1, 100)}
    assert pending_block(store.writes) == block
    assert pending_block(Writes(stamp=1)) is None


def test_a_cut_or_foreign_block_is_invalid() -> None:
    maker, store = Maker(), Store()
    store.run(maker.user())
    block = pending_block(store.writes)
    assert block is not None
    for raw in (block[1][:-1], block[1][:10], b"\x02" + block[1][1:], b"", block[1] + b"x"):
        with pytest.raises(EventInvalid):
            unpack_pending(raw)
