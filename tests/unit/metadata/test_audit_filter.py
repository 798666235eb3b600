"""Which audit events pass a filter, and what an operator and a tenant see of them."""

import hashlib
from typing import Any

import orjson
import pytest

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId
from fileflux.metadata.audit_filter import (
    AuditFilter,
    FilterInvalid,
    OpenedRecord,
    operations_named,
    time_named,
)
from fileflux.metadata.audit_json import structured, structured_for
from fileflux.metadata.chain import NumberedRecord

ALICE, BOB = "a" * 32, "b" * 32
SECRET_BUCKET = "bobs-plans"


def record(**changes: Any) -> NumberedRecord:
    data: dict[str, Any] = {
        "version": 1,
        "operation": "PutObject",
        "bucket": "photos",
        "bucket_id": "0" * 32,
        "key": "2026/cat.jpg",
        "at_us": 5,
        "stamp": 1_000,
        "actor": {"user_id": ALICE, "user_name": "alice", "key_id": "FFALICE", "user_agent": "x"},
        "facts": {"outcome": "ok", "owner": ALICE, "bundles": [{"bundle": "b"}], "usage": {}},
        "effects": [{"table": "objects", "row": {}}],
    }
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": "now"}
    payload = orjson.dumps({**event, "data": {**data, **changes}})
    return NumberedRecord(77, BucketId(bytes(16)), 5, hashlib.sha256(b"before").digest(), payload)


@pytest.mark.parametrize(
    ("passing", "failing"),
    [
        (AuditFilter(), None),
        (AuditFilter(bucket="photos"), AuditFilter(bucket="photo")),
        (AuditFilter(prefix=b"2026/"), AuditFilter(prefix=b"2027/")),
        (AuditFilter(principal="alice"), AuditFilter(principal="ali")),
        (AuditFilter(principal="FFALICE"), AuditFilter(principal="photos")),
        (AuditFilter(principal=ALICE), AuditFilter(principal="")),
        (AuditFilter(operations=frozenset({"PutObject"})), AuditFilter(operations=frozenset("P"))),
        (AuditFilter(owner=ALICE), AuditFilter(owner=BOB)),
        (AuditFilter(since_us=1_000), AuditFilter(since_us=1_001)),
        (AuditFilter(until_us=1_001), AuditFilter(until_us=1_000)),
    ],
)
def test_a_filter_lets_through_what_it_names(passing: AuditFilter, failing: AuditFilter) -> None:
    assert passing.open(record()) is not None
    if failing not in (None, AuditFilter()):
        assert failing.open(record()) is None


def test_names_with_quotes_and_keys_that_are_no_text_are_compared_too() -> None:
    odd = 'say "hi"\\ü'
    actor = {"user_name": odd, "user_id": BOB, "key_id": ""}

    assert AuditFilter(principal=odd).open(record(actor=actor)) is not None
    assert AuditFilter(principal="other").open(record(actor=actor)) is None
    binary = record(key=None, key_base64="gIH/")
    del (data := orjson.loads(binary.payload))["data"]["key"]
    one = NumberedRecord(1, BucketId(bytes(16)), 1, bytes(32), orjson.dumps(data))
    assert AuditFilter(prefix=b"\x80\x81").open(one) is not None
    assert AuditFilter(prefix=b"\x81").open(one) is None


def test_what_belongs_to_no_bucket_is_nobodys_but_an_operators() -> None:
    of_the_system = record(facts={"outcome": "ok", "name": ALICE})

    assert AuditFilter(owner=ALICE).open(of_the_system) is None
    assert AuditFilter().open(of_the_system) is not None


def test_nobody_can_try_out_the_access_keys_of_others() -> None:
    by_root = record(actor={"user_id": BOB, "user_name": "root", "key_id": "FFROOT"})

    assert AuditFilter(owner=ALICE, principal="root").open(by_root) is not None
    assert AuditFilter(owner=ALICE, principal="FFROOT").open(by_root) is None
    assert AuditFilter(owner=ALICE, principal="FFALICE").open(record()) is not None


def test_what_is_no_record_is_said_to_be_none() -> None:
    for payload in (b"", b"[]", b"{", b'{"data":{}}', b'{"data":7}'):
        with pytest.raises(EventInvalid):
            AuditFilter().open(NumberedRecord(1, BucketId(bytes(16)), 1, bytes(32), payload))


def test_operations_are_s3s_names_and_a_wrong_one_is_told() -> None:
    assert operations_named(["PutObject, DeleteObject", "CopyObject", ""]) == frozenset(
        {"PutObject", "DeleteObject", "CopyObject"}
    )
    with pytest.raises(FilterInvalid, match=r"'putobject'.*PutObject"):
        operations_named(["putobject"])


def test_times_are_utc_unless_they_say_otherwise() -> None:
    noon_us = 1_767_268_800_000_000
    for text in (
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00",
        "2026-01-01T13:00:00+01:00",
        "2026-01-01T13:00:00 01:00",
        " 2026-01-01 12:00 ",
    ):
        assert time_named(text) == noon_us, text
    assert time_named("2026-01-01") == noon_us - 12 * 3_600_000_000
    for wrong in ("", "yesterday", "1", "2026-13-01", "2026-01-01T25:00", "\x00", "9" * 5_000):
        with pytest.raises(FilterInvalid):
            time_named(wrong)


def test_an_operators_line_has_the_numbers_and_the_very_bytes_that_were_hashed() -> None:
    one = record()
    line = structured(one)

    event = orjson.loads(line)
    assert event["position"] == f"{77:020}"
    assert event["sequence"] == f"{5:020}"
    assert event["stream"] == "0" * 32
    assert event["prevhash"] == one.previous_hash.hex()
    assert event["specversion"] == "1.0"
    assert b"{" + line[line.index(b'"specversion"') :] == one.payload
    assert b"\n" not in line


def test_a_tenants_line_has_no_rows_no_places_and_no_global_numbers() -> None:
    one = OpenedRecord(record())
    event = orjson.loads(structured_for(ALICE, one))

    assert set(event) == {
        *("specversion", "id", "source", "type", "time", "stream", "sequence", "data")
    }
    assert event["data"]["facts"] == {"outcome": "ok", "owner": ALICE}
    assert event["data"]["actor"]["user_agent"] == "x", "its own"
    assert not {"effects", "stamp"} & set(event["data"])


def test_a_tenant_learns_of_others_no_more_than_their_names() -> None:
    """Root may copy from anybody's bucket into a tenant's."""
    facts = {"outcome": "ok", "owner": BOB, "source": {"bucket": SECRET_BUCKET, "key": "k"}}
    line = structured_for(BOB, OpenedRecord(record(facts=facts)))

    assert SECRET_BUCKET.encode() not in line
    assert orjson.loads(line)["data"]["actor"] == {"user_id": ALICE, "user_name": "alice"}
    own = structured_for(ALICE, OpenedRecord(record(facts=facts)))
    assert SECRET_BUCKET.encode() in own, "who copied named the source"
