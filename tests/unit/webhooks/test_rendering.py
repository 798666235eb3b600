"""Deliveries as consumers of S3's notifications and of CloudEvents read them."""

import json
from typing import Any
from urllib.parse import unquote, unquote_plus

from tests.model.webhook_rows import audit_record, subscription

from fileflux.webhooks.occurrence import Occurrence, occurrence_of
from fileflux.webhooks.rendering import FORMATS, render, render_test

KEY = 'ordner/ein bild+ä%".jpg'.encode()


def occurrence(key: bytes = KEY, operation: str = "PutObject", **facts: Any) -> Occurrence:
    found = occurrence_of(audit_record(position=77, key=key, operation=operation, **facts))
    assert found is not None
    return found


def test_an_s3_record_has_what_consumers_read() -> None:
    message = render(subscription(), occurrence(size=5, etag="abc"))
    (record,) = json.loads(message.body)["Records"]
    assert record["eventVersion"] == "2.1"
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["eventTime"] == "2026-11-30T12:00:00.123Z"
    assert record["s3"]["bucket"]["name"] == "photos"
    assert unquote_plus(record["s3"]["object"]["key"]).encode() == KEY
    assert record["s3"]["object"]["size"] == 5
    assert record["s3"]["object"]["eTag"] == "abc"
    assert record["requestParameters"]["sourceIPAddress"] == "192.0.2.1"


def test_the_sequencer_of_a_later_event_is_larger_as_text() -> None:
    def sequencer(position: int) -> str:
        found = occurrence_of(audit_record(position=position))
        assert found is not None
        (record,) = json.loads(render(subscription(), found).body)["Records"]
        return str(record["s3"]["object"]["sequencer"])

    texts = [sequencer(position) for position in (9, 10, 255, 256, 70_000)]
    assert texts == sorted(texts)


def test_a_removal_has_neither_size_nor_etag() -> None:
    message = render(subscription(), occurrence(operation="DeleteObject"))
    (record,) = json.loads(message.body)["Records"]
    assert record["eventName"] == "ObjectRemoved:Delete"
    assert set(record["s3"]["object"]) == {"key", "sequencer"}


def test_both_modes_of_cloudevents_say_the_same() -> None:
    happened = occurrence(size=5, etag="abc")
    binary = render(subscription(format="cloudevents"), happened)
    structured = json.loads(render(subscription(format="cloudevents-structured"), happened).body)
    assert json.loads(binary.body) == structured.pop("data")
    assert structured.pop("datacontenttype") == binary.headers["content-type"]
    attributes = {
        k.removeprefix("ce-"): v for k, v in binary.headers.items() if k != "content-type"
    }
    assert {name: unquote(text) for name, text in attributes.items()} == structured
    assert structured["specversion"] == "1.0"
    assert structured["subject"].encode() == KEY


def test_headers_are_printable_ascii_whatever_the_key_is() -> None:
    for key in (b"\xff\xfe", b"a\r\nx: y", "名前".encode(), b'"%'):
        try:
            text = key.decode()
        except UnicodeDecodeError:
            continue
        for value in render(
            subscription(format="cloudevents"), occurrence(text.encode())
        ).headers.values():
            assert value.isascii()
            assert value.isprintable()


def test_a_test_message_tells_of_no_object() -> None:
    for name in FORMATS:
        message = render_test(subscription(format=name), event_id="t1", time="2026-11-30T12:00:00Z")
        assert b"Records" not in message.body
        assert "fileflux.webhook.test" in str(message) or b"s3:TestEvent" in message.body
