"""What a salvage could not take over, or could not know: counted, and told line by line."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import orjson

Details = Mapping[str, object]
Sink = Callable[[bytes], object]
"""Takes one JSON line, with its line feed."""

KINDS: Final[Mapping[str, str]] = {
    "node_silent": "nodes that did not say all they hold",
    "bundle_unreadable": "replicas whose own record cannot be read",
    "chunk_rotten": "chunks of which a replica's data fails its checksums",
    "bundle_conflict": "bundles of one id with different content, left out",
    "record_refused": "records that no upload of ours can have written, left out",
    "upload_conflict": "uploads that contradict themselves: what does not fit is left out",
    "upload_incomplete": "uploads of which chunks are missing: lost, or never finished",
    "older_version": "keys whose newest upload is incomplete: an older one is brought back",
    "too_few_replicas": "bundles with fewer replicas than their class has",
    "class_unknown": "storage classes that FILEFLUX_CLASSES lacks: what is found is enough",
    "superseded": "older uploads of a key, left where they are",
    "condition_refused": "uploads whose own condition (If-Match, If-None-Match) refused them",
    "bucket_gone": "uploads into a bucket that was deleted before another took its name",
    "bucket_taken": "uploads into a bucket whose name the stream gives to another one",
    "not_in_stream": "uploads that the audit stream should name and does not: refused, given up",
    "not_applied": "writes that what is known already refused",
    "multipart_assumed": "multipart uploads taken for completed: only the database knew",
    "multipart_open": "multipart uploads left open: complete or abort them",
}
"""What is found, and how a report says it."""

UNKNOWABLE: Final = (
    "deletions: what was deleted after its upload comes back",
    "objects of 0 bytes and copies: no node has a record of them",
    "users, access keys, passwords, and who owned a bucket: all belong to root",
    "buckets that held nothing, and every bucket's configuration",
    "which multipart uploads were completed or aborted, and parts that were copied",
    "webhooks and operators' intent for nodes",
)
"""What no node's record tells. With an audit stream this is so of what came behind its end only."""


class Findings:
    """Counts what is found and hands each finding to `sink`; keeps none."""

    def __init__(self, sink: Sink = lambda _: None) -> None:
        self.counts: Counter[str] = Counter()
        self._sink = sink

    def note(self, kind: str, **details: object) -> None:
        """Ids may be bytes here: they are hexadecimal in the line. Keys go through `key_text`."""
        assert kind in KINDS, kind
        self.counts[kind] += 1
        self._sink(orjson.dumps({"finding": kind, **details}, default=_plain) + b"\n")


def key_text(key: bytes) -> str:
    """Return a key as it is shown: text, with what is not UTF-8 escaped."""
    return key.decode("utf-8", "backslashreplace")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{value!r} has no form in a report")
