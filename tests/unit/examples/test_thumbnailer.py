"""The thumbnailer that people copy: once per version, never of its own, bad files passed over."""

import io
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples/thumbnailer.py"))


class Objects:
    """Two buckets in memory, by the calls of boto3's client that the example makes."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], tuple[bytes, str, dict[str, str]]] = {}
        self.puts = 0
        self.gone = ""

    def put_object(
        self, *, Bucket: str, Key: str, Body: bytes, Metadata: dict[str, str], **_: Any
    ) -> None:
        self.puts += 1
        self.held[Bucket, Key] = Body, f"etag-{len(Body)}", Metadata

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str) -> dict[str, Any]:
        if self.gone:
            raise ClientError({"Error": {"Code": self.gone}}, "GetObject")
        body, etag, metadata = self._found(Bucket, Key)
        if IfMatch != f'"{etag}"':
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "GetObject")
        return {"Body": io.BytesIO(body), "Metadata": metadata}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Metadata": self._found(Bucket, Key)[2]}

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        self.held.pop((Bucket, Key), None)

    def _found(self, bucket: str, key: str) -> tuple[bytes, str, dict[str, str]]:
        if (bucket, key) not in self.held:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return self.held[bucket, key]


def picture(size: tuple[int, int] = (400, 300)) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size, "red").save(made, "PNG")
    return made.getvalue()


class Bench:
    """A thumbnailer on two buckets, and events as the stream has them."""

    def __init__(self, example: dict[str, Any]) -> None:
        self.s3 = Objects()
        self.main = example["main"]
        self.work = example["Thumbnailer"](self.s3, "photos", "small")

    def store(self, key: str, body: bytes, version: str, bucket: str = "photos") -> dict[str, Any]:
        self.s3.held[bucket, key] = body, f"etag-{len(body)}", {}
        facts = {"outcome": "ok", "version": version, "size": len(body)}
        data = {"bucket": bucket, "key": key, "facts": {**facts, "etag": f"etag-{len(body)}"}}
        return {"type": "fileflux.object.created", "data": data}


@pytest.fixture
def bench(example: dict[str, Any]) -> Bench:
    return Bench(example)


def test_a_picture_gets_one_thumbnail_however_often_its_event_comes(bench: Bench) -> None:
    event = bench.store("a.png", picture(), "v1")
    assert [bench.work.handle(event) for _ in range(3)] == [
        "made 'a.png'",
        "had 'a.png'",
        "had 'a.png'",
    ]
    assert bench.s3.puts == 1
    body, _, metadata = bench.s3.held["small", "a.png.jpg"]
    assert Image.open(io.BytesIO(body)).size == (160, 120)
    assert metadata == {"thumbnail-of-version": "v1"}


def test_a_replaced_picture_gets_the_thumbnail_of_what_is_there(bench: Bench) -> None:
    first = bench.store("a.png", picture(), "v1")
    second = bench.store("a.png", picture((300, 400)), "v2")
    assert bench.work.handle(first) == "replaced since: 'a.png'"
    assert bench.work.handle(second) == "made 'a.png'"
    assert bench.s3.held["small", "a.png.jpg"][2] == {"thumbnail-of-version": "v2"}


def test_a_removed_picture_takes_its_thumbnail_along(bench: Bench) -> None:
    event = bench.store("a.png", picture(), "v1")
    bench.work.handle(event)
    gone = {"type": "fileflux.object.deleted", "data": event["data"]}
    assert bench.work.handle(gone) == "removed 'a.png'"
    assert ("small", "a.png.jpg") not in bench.s3.held
    del bench.s3.held["photos", "a.png"]
    assert bench.work.handle(event) == "replaced since: 'a.png'", "an old event comes again"


def test_what_it_wrote_itself_is_left_alone(bench: Bench, example: dict[str, Any]) -> None:
    """Also where two of them write into each other's buckets."""
    bench.work.handle(bench.store("a.png", picture(), "v1"))
    body, etag, _ = bench.s3.held["small", "a.png.jpg"]
    back = example["Thumbnailer"](bench.s3, "small", "photos")
    facts = {"outcome": "ok", "version": "v9", "size": len(body), "etag": etag}
    data = {"bucket": "small", "key": "a.png.jpg", "facts": facts}
    event = {"type": "fileflux.object.created", "data": data}
    assert bench.work.handle(event) == ""
    assert back.handle(event) == "is a thumbnail: 'a.png.jpg'"
    with pytest.raises(SystemExit):
        example["main"]("photos", "photos")


def of_format(name: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(made, name)
    return made.getvalue()


BROKEN_DDS = of_format("DDS")[:80] + bytes(4) + of_format("DDS")[84:]
"""Pillow says NotImplementedError."""


@pytest.mark.parametrize(
    "body", [b"", b"not a picture", picture()[:60], BROKEN_DDS, of_format("EPS"), of_format("TIFF")]
)
def test_a_bad_file_does_not_stop_the_others(bench: Bench, body: bytes) -> None:
    assert bench.work.handle(bench.store("bad.png", body, "v1")) == "no picture: 'bad.png'"
    assert bench.s3.puts == 0


def test_only_decoders_of_its_own_kinds_see_a_strangers_bytes(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow knows forty formats and runs Ghostscript for one: the name says nothing of them."""
    opened = []
    monkeypatch.setattr(Image, "open", lambda data, **how: opened.append(how))
    example["thumbnail"](picture())
    assert set(opened[0]["formats"]) == {"JPEG", "PNG", "WEBP"}


def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused(
    example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow only warns, up to twice its own limit."""
    monkeypatch.setitem(example["thumbnail"].__globals__, "SOURCE_PIXELS_MAX", 400 * 300)
    assert example["thumbnail"](picture((400, 300)))
    assert example["thumbnail"](picture((400, 301))) is None


def test_a_key_that_leaves_no_room_for_its_thumbnails_name_does_not_stop_the_others(
    bench: Bench,
) -> None:
    """S3 refuses names of more than 1,024 bytes, at every start again."""
    longest = "é" * 508 + ".png"
    assert "made" in bench.work.handle(bench.store(longest, picture(), "v1"))
    event = bench.store("a" + longest, picture(), "v1")
    assert "too long" in bench.work.handle(event)
    assert "too long" in bench.work.handle({**event, "type": "fileflux.object.deleted"})
    assert bench.s3.puts == 1


def test_a_bucket_that_is_gone_does_not_stop_the_others(bench: Bench) -> None:
    event = bench.store("a.png", picture(), "v1")
    bench.s3.gone = "NoSuchBucket"
    assert "replaced since" in bench.work.handle(event)


def test_what_is_no_picture_of_its_bucket_is_passed_over(bench: Bench) -> None:
    assert bench.work.handle(bench.store("a.txt", b"x", "v1")) == ""
    assert bench.work.handle(bench.store("a.png", picture(), "v1", bucket="others")) == ""
    system = {"type": "fileflux.user.created", "data": {"bucket": "", "facts": {}}}
    assert bench.work.handle(system) == ""
    assert bench.work.handle({}) == "", "a record without a value"


class Topic:
    """One record, by the calls of confluent-kafka's consumer that the example makes."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._left: list[Any] = [
            SimpleNamespace(error=lambda: None, value=lambda: json.dumps(event))
        ]
        self.stored: list[Any] = []

    def assign(self, _: list[Any]) -> None: ...

    def poll(self, _: float) -> Any:
        if not self._left:
            raise KeyboardInterrupt
        return self._left.pop()

    def store_offsets(self, message: Any) -> None:
        self.stored.append(message)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("refused", "ended", "read"), [("SlowDown", ClientError, 0), ("", KeyboardInterrupt, 1)]
)
def test_an_event_counts_as_read_when_its_thumbnail_is_stored_and_not_before(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    ended: type[BaseException],
    read: int,
) -> None:
    """Killed or refused in between, it comes again."""
    topic = Topic(bench.store("a.png", picture(), "v1"))
    bench.s3.gone = refused
    used = bench.main.__globals__
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:9")
    monkeypatch.setitem(used, "Consumer", lambda _: topic)
    monkeypatch.setitem(used, "boto3", SimpleNamespace(client=lambda _: bench.s3))
    with pytest.raises(ended):
        bench.main("photos", "small")
    assert (len(topic.stored), bench.s3.puts) == (read, read)
