"""Bucket notifications as any user's program sets them up: boto3, and a receiver of S3's events."""

import base64
import json
import os
import ssl
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

WAIT_S = 60.0
CREATED = "s3:ObjectCreated:*"
Configure = Callable[..., Any]


class Receiver:
    """Takes every delivery. `bodies`: in the order of their arrival."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        taken = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                taken.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def records(self) -> list[dict[str, Any]]:
        return [record for body in self.bodies for record in body.get("Records", [])]

    def tests(self) -> list[dict[str, Any]]:
        return [body for body in self.bodies if body.get("Event") == "s3:TestEvent"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    serving = threading.Thread(target=made.server.serve_forever)
    serving.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    serving.join()


@pytest.fixture
def admin(endpoint: str, root_keys: tuple[str, str]) -> Callable[..., dict[str, Any]]:
    """admin(method, path, body) → the JSON answer of FileFlux's own endpoints."""
    pair = base64.b64encode(f"root:{root_keys[1]}".encode()).decode()
    trusted = ssl.create_default_context(cafile=os.environ.get("FILEFLUX_TEST_CA") or None)

    def ask(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"{endpoint}/_fileflux/{path}", method=method)
        request.add_header("Authorization", f"Basic {pair}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        context = trusted if endpoint.startswith("https") else None
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return dict(json.loads(answer.read()))

    return ask


@pytest.fixture
def destination(admin: Any, receiver: Receiver) -> Iterator[dict[str, Any]]:
    name = f"hook-{uuid.uuid4().hex[:12]}"
    yield admin("POST", "webhook-destinations", {"name": name, "url": receiver.url})
    admin("DELETE", f"webhook-destinations/{name}")


@pytest.fixture
def configure(s3: Any, bucket: str) -> Iterator[Configure]:
    def put(**configuration: Any) -> Any:
        return s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration=configuration
        )

    yield put
    put()


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)


def test_an_uploaded_object_reaches_the_receiver_as_s3_tells_it(
    s3: Any,
    bucket: str,
    receiver: Receiver,
    destination: dict[str, Any],
    configure: Configure,
) -> None:
    rules = [{"Name": "Prefix", "Value": "in/"}, {"Name": "Suffix", "Value": ".jpg"}]
    part = {
        "Id": "images",
        "QueueArn": destination["arn"],
        "Events": [CREATED],
        "Filter": {"Key": {"FilterRules": rules}},
    }
    configure(QueueConfigurations=[part])
    found = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert [(one["Id"], one["QueueArn"], one["Events"]) for one in found] == [
        ("images", destination["arn"], [CREATED])
    ]
    until(lambda: bool(receiver.tests()))
    assert receiver.tests()[0]["Bucket"] == bucket

    etag = s3.put_object(Bucket=bucket, Key="in/a b.jpg", Body=b"hello")["ETag"].strip('"')
    s3.put_object(Bucket=bucket, Key="out/a.jpg", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="in/a b.jpg")
    s3.put_object(Bucket=bucket, Key="in/last.jpg", Body=b"")
    until(lambda: len(receiver.records()) == 2)
    first, last = sorted(receiver.records(), key=lambda one: str(one["s3"]["object"]["sequencer"]))
    assert (first["eventVersion"], first["eventName"]) == ("2.1", "ObjectCreated:Put")
    assert first["s3"]["configurationId"] == "images"
    assert first["s3"]["bucket"]["name"] == bucket
    stored = first["s3"]["object"]
    assert urllib.parse.unquote_plus(stored["key"]) == "in/a b.jpg"
    assert (stored["size"], stored["eTag"]) == (5, etag)
    assert last["s3"]["object"]["key"] == "in/last.jpg"


def test_what_is_refused_says_why(
    s3: Any, bucket: str, destination: dict[str, Any], error_of: Any
) -> None:
    part = {"QueueArn": destination["arn"], "Events": [CREATED]}
    for parts in ([{**part, "QueueArn": "arn:aws:sqs:us-east-1:123456789012:q"}], [part, part]):
        code, status = error_of(
            s3.put_bucket_notification_configuration,
            Bucket=bucket,
            NotificationConfiguration={"QueueConfigurations": parts},
        )
        assert (code, status) == ("InvalidArgument", 400)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_a_skipped_validation_sends_no_test_event(
    s3: Any,
    bucket: str,
    receiver: Receiver,
    destination: dict[str, Any],
    configure: Configure,
) -> None:
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "TopicConfigurations": [{"TopicArn": destination["arn"], "Events": [CREATED]}]
        },
        SkipDestinationValidation=True,
    )
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    until(lambda: len(receiver.records()) == 1)
    assert receiver.tests() == []
