"""What a route tells of an audit record, and in which form."""

import json
from typing import Any

from tests.model.route_rows import message, route
from tests.model.webhook_rows import OWNER_ID, audit_record

from fileflux.core.ids import BucketId
from fileflux.metadata.route_rows import ANY_BUCKET
from fileflux.webhooks.routes.messages import routed


def keys_of(name: str, **changed: Any) -> list[str]:
    """Return the keys that a route lets through, of four."""
    found = []
    for key in (b"in/a.jpg", b"in/b.txt", b"out/a.jpg", b"in/"):
        record = audit_record(1, key, name)
        made = routed(route(**changed), record)
        found += [] if made is None else [made.key.decode()]
    return found


def test_prefix_suffix_and_event_choose_what_is_told() -> None:
    assert len(keys_of("PutObject")) == 4
    assert keys_of("PutObject", prefix=b"in/", suffix=b".jpg") == ["photos/in/a.jpg"]
    assert keys_of("PutObject", event_names=("s3:ObjectRemoved:*",)) == []
    assert len(keys_of("DeleteObject", event_names=("s3:ObjectRemoved:*",))) == 4
    assert keys_of("CreateBucket") == []
    assert keys_of("PutObject", bucket_id=BucketId(b"c" * 16)) == []


def test_a_route_of_a_user_has_the_buckets_that_were_the_users_when_it_happened() -> None:
    """A bucket that is gone by now, too: the record says whose it was."""
    everything = route(bucket_id=ANY_BUCKET, bucket="")
    assert routed(everything, audit_record(1, owner=OWNER_ID.hex())) is not None
    assert routed(everything, audit_record(1, owner="ff" * 16)) is None
    assert routed(everything, audit_record(1, owner="ff" * 16, etag=OWNER_ID.hex())) is None
    assert routed(everything, audit_record(1)) is None


def test_a_cloudevent_in_kafka_has_its_attributes_in_headers_as_they_are() -> None:
    """The Kafka binding of CloudEvents, binary mode: `ce_` headers in UTF-8, the data as value."""
    made = message(7, "fotos/größe 1.jpg".encode())
    headers = dict(made.headers)
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_id"] == headers["fileflux-event-id"] == made.event_id == f"{7:032x}"
    assert headers["ce_source"] == "/buckets/photos"
    assert headers["ce_type"] == "fileflux.object.created"
    assert headers["ce_subject"] == "fotos/größe 1.jpg"
    assert headers["content-type"] == "application/json"
    assert made.key == "photos/fotos/größe 1.jpg".encode()
    data = json.loads(made.body)
    assert (data["bucket"], data["key"], data["size"]) == ("photos", "fotos/größe 1.jpg", 1)


def test_a_tenant_is_told_nothing_internal() -> None:
    """Where the bytes are, and how much others do."""
    record = audit_record(1, size=1, bundles=[{"bundle": "b", "nodes": ["node-1"]}])
    for form in ("cloudevents", "cloudevents-structured", "s3"):
        made = routed(route(format=form), record)
        assert made is not None
        assert b"node-1" not in made.body
        assert b'"position"' not in made.body
        assert not any("node-1" in text for _, text in made.headers)


def test_the_other_formats_are_an_s3_record_and_one_json_object() -> None:
    record = json.loads(message(3, format="s3", name="alices").body)["Records"][0]
    assert (record["eventVersion"], record["s3"]["configurationId"]) == ("2.1", "alices")
    made = message(3, format="cloudevents-structured")
    assert json.loads(made.body)["id"] == made.event_id
    assert dict(made.headers)["content-type"].startswith("application/cloudevents+json")


def test_a_replay_is_marked_up_to_where_it_was_and_keeps_the_events_id() -> None:
    replayed: dict[str, Any] = {"replay_id": b"\x07" * 16, "replay_until": 5}
    again, fresh = message(4, **replayed), message(5, **replayed)
    assert dict(again.headers)["fileflux-replay"] == "07" * 16
    assert "fileflux-replay" not in dict(fresh.headers)
    assert again.event_id == message(4).event_id
    assert again.send_id not in (again.event_id, message(4).send_id)
    assert fresh.send_id == fresh.event_id
