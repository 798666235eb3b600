"""Make a thumbnail of every picture that is stored in a bucket, into another bucket.

export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 AWS_ENDPOINT_URL=http://127.0.0.1:9000
export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_DEFAULT_REGION=us-east-1
python examples/thumbnailer.py photos thumbnails

At least once: an event counts as read when its thumbnail is stored, and a thumbnail names the
version that it is of, so an event that comes again does nothing. Its place is Kafka's offset: after
the topic was wiped and filled again, give it another GROUP, and it begins anew. It reads one bucket
and writes another, and leaves alone what a thumbnailer made: thumbnails of thumbnails there are
none. Needs confluent-kafka, boto3 and Pillow.
"""

import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError
from confluent_kafka import OFFSET_STORED, Consumer, TopicPartition
from PIL import Image

TOPIC = "fileflux.audit"
PUTS = {"fileflux.object.created", "fileflux.object.copied", "fileflux.upload.completed"}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
PIXELS = (160, 160)
SOURCE_BYTES_MAX = 32 << 20
OF_VERSION = "thumbnail-of-version"
FORMATS = ("JPEG", "PNG", "WEBP")
"""Whatever a file's name says: Pillow knows forty more, and runs a program for one of them."""
SOURCE_PIXELS_MAX = 64_000_000
"""A small file may unpack to a huge picture."""
KEY_BYTES_MAX = 1024
GONE = {"NoSuchKey", "NoSuchBucket", "404", "PreconditionFailed", "412"}


@dataclass(frozen=True)
class Thumbnailer:
    """Turns events into thumbnails. `s3`: a boto3 client."""

    s3: Any
    source: str
    target: str

    def handle(self, event: Mapping[str, Any]) -> str:
        """Do what an event asks for; return what was done, empty for an event of others."""
        data = event.get("data", {})
        key = data.get("key", "")  # Keys that are no UTF-8 are not ours.
        if data.get("bucket") != self.source or not key.lower().endswith(SUFFIXES):
            return ""
        if len(name_of(key).encode()) > KEY_BYTES_MAX:
            return f"too long for a thumbnail's name: {key!r}"
        if event["type"] == "fileflux.object.deleted":
            self.s3.delete_object(Bucket=self.target, Key=name_of(key))
            return f"removed {key!r}"
        if event["type"] in PUTS and data["facts"].get("outcome") == "ok":
            return self._make(key, data["facts"])
        return ""

    def _make(self, key: str, facts: Mapping[str, Any]) -> str:
        version = facts["version"]
        if self._made_of(key) == version:
            return f"had {key!r}"
        if facts["size"] > SOURCE_BYTES_MAX:
            return f"too large: {key!r}"
        try:
            found = self.s3.get_object(Bucket=self.source, Key=key, IfMatch=f'"{facts["etag"]}"')
        except ClientError as refused:
            if refused.response["Error"]["Code"] in GONE:
                return f"replaced since: {key!r}"  # That has an event of its own.
            raise
        if OF_VERSION in found["Metadata"]:
            return f"is a thumbnail: {key!r}"
        small = thumbnail(found["Body"].read())
        if small is None:
            return f"no picture: {key!r}"
        self.s3.put_object(
            Bucket=self.target,
            Key=name_of(key),
            Body=small,
            ContentType="image/jpeg",
            Metadata={OF_VERSION: version},
        )
        return f"made {key!r}"

    def _made_of(self, key: str) -> str:
        """Return the version that a thumbnail is of; empty if there is none."""
        try:
            head = self.s3.head_object(Bucket=self.target, Key=name_of(key))
        except ClientError as refused:
            if refused.response["Error"]["Code"] in GONE:
                return ""
            raise
        return str(head["Metadata"].get(OF_VERSION, ""))


def name_of(key: str) -> str:
    return f"{key}.jpg"


def thumbnail(picture: bytes) -> bytes | None:
    """Return a small JPEG; None for what is no picture: one bad file must not stop the others."""
    made = io.BytesIO()
    try:
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            if image.width * image.height > SOURCE_PIXELS_MAX:
                return None
            image.draft("RGB", PIXELS)
            image.thumbnail(PIXELS)
            image.convert("RGB").save(made, "JPEG")
    except Exception:  # Whatever a decoder says of a stranger's bytes, and it is a lot.
        return None
    return made.getvalue()


def main(source: str, target: str) -> None:
    if source == target:
        sys.exit("the thumbnails need a bucket of their own: they would have thumbnails again")
    work = Thumbnailer(boto3.client("s3"), source, target)
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": os.environ.get("GROUP", f"thumbnailer-{source}-{target}"),
            "enable.auto.offset.store": False,  # Commits only what was handled.
            "auto.offset.reset": "earliest",
        }
    )
    # One partition and one reader: no group has to be joined, its offsets are only kept there.
    consumer.assign([TopicPartition(TOPIC, 0, OFFSET_STORED)])
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                print(message.error(), file=sys.stderr)
                continue
            if done := work.handle(json.loads(message.value() or b"{}")):
                print(done, flush=True)
            consumer.store_offsets(message)
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
