"""Draws random changes that often succeed, and what the model says of each."""

import random
from collections.abc import Callable
from typing import Any

from tests.model.metadata_changes import Maker
from tests.model.object_model import Content, ObjectModel

from fileflux.core.changes import Change, CompletedPart, CreateBucket, CreateMultipart
from fileflux.core.ids import BucketId
from fileflux.core.model import Chunk, Manifest, WriteConditions
from fileflux.metadata.rows import ObjectRow

KEYS = (b"a", b"b", b"\xff\x00c")
NAMES = ("red", "blue")
PART_SIZES = ((5 << 20,), (4 << 20, 3 << 20), (100,))


class Storm:
    """Draws changes that often succeed: it looks at the model to name what is there."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.maker = Maker(rng.randrange(1 << 30))
        self.model = ObjectModel()
        self.buckets: list[CreateBucket] = []
        self.uploads: list[CreateMultipart] = []
        self._next: list[Callable[[], Change]] = []

    def change(self) -> tuple[Change, str]:
        """Return a change and the status that the model gives it."""
        change = self._draw()
        return change, self.model.apply(change)

    def _draw(self) -> Change:
        rng = self._rng
        if self._next and rng.random() < 0.9:
            return self._next.pop(0)()
        if not self.buckets:
            return self._create_bucket()
        kinds: list[tuple[int, Callable[[], Change]]] = [
            (2, self._create_bucket),
            (2, lambda: self.maker.delete_bucket(self._bucket())),
            (6, self._put),
            (5, lambda: self.maker.delete(self._bucket(), self._key(), conditions=self._if())),
            (6, self._copy),
            (3, self._create_multipart),
            (3, self._append),
        ]
        if self.uploads:
            kinds += [
                (6, self._part),
                (10, self._copy_part),
                (9, self._complete),
                (1, lambda: self.maker.abort(self._upload())),
            ]
        weights = [weight for weight, _ in kinds]
        return rng.choices([draw for _, draw in kinds], weights)[0]()

    def _key(self) -> bytes:
        return self._rng.choice(KEYS)

    def _bucket(self) -> CreateBucket:
        living = [b for b in self.buckets if b.bucket_id in self.model.objects]
        return self._rng.choice(living if living and self._rng.random() < 0.9 else self.buckets)

    def _upload(self) -> CreateMultipart:
        still_open = [
            u
            for u in self.uploads
            if u.upload_id in self.model.uploads and self.model.uploads[u.upload_id].is_open
        ]
        usual = bool(still_open) and self._rng.random() < 0.9
        return self._rng.choice(still_open if usual else self.uploads)

    def _if(self) -> WriteConditions:
        draw = self._rng.random()
        if draw < 0.8:
            return WriteConditions()
        if draw < 0.87:
            return WriteConditions(if_none_match="*")
        etags = [c.etag for objects in self.model.objects.values() for c in objects.values()]
        known = [etag for etag in etags if etag is not None]
        return WriteConditions(if_match=self._rng.choice([*known, "*", "never"]))

    def _create_bucket(self) -> Change:
        bucket = self.maker.bucket(self._rng.choice(NAMES))
        self.buckets.append(bucket)
        return bucket

    def _put(self) -> Change:
        sizes = [self._rng.randrange(1, 999) for _ in range(self._rng.randrange(3))]
        manifest = self.maker.chunks(*sizes)
        return self.maker.put(self._bucket(), self._key(), manifest=manifest, conditions=self._if())

    def _source(self) -> ObjectRow:
        """Return the place and version of some object; sometimes one that is not there.

        Completed uploads are preferred: a copy of them nests content.
        """
        found = [
            (bucket_id, key, content.version)
            for bucket_id, objects in self.model.objects.items()
            for key, content in objects.items()
            for _ in range(1 if content.etag else 4)
        ]
        stale = (self._bucket().bucket_id, self._key(), self.maker.id())
        usual = bool(found) and self._rng.random() < 0.95
        bucket_id, key, version = self._rng.choice(found) if usual else stale
        return _place(bucket_id, key, version)

    def _copy(self) -> Change:
        source = self._source()
        return self.maker.copy(self._bucket(), self._key(), source, conditions=self._if())

    def _create_multipart(self) -> Change:
        upload = self.maker.create_multipart(self._bucket(), self._key())
        self.uploads.append(upload)
        return upload

    def _append(self) -> Change:
        """Begin to copy an object as the first part of its successor, as clients append."""
        source = self._source()
        known = self.model.objects.get(source.bucket_id, {}).get(source.key)
        bucket = next((b for b in self.buckets if b.bucket_id == source.bucket_id), self._bucket())
        upload = self.maker.create_multipart(bucket, source.key)
        manifest = Manifest(known.slices if known else ())
        part = self.maker.copy_part(upload, 1, source, manifest)
        self.uploads.append(upload)
        self._next += [lambda: part, lambda: self.maker.complete(upload, [part])]
        return upload

    def _part(self) -> Change:
        manifest = self.maker.chunks(*self._rng.choice(PART_SIZES))
        return self.maker.part(self._upload(), self._rng.randrange(1, 4), manifest=manifest)

    def _copy_part(self) -> Change:
        source = self._source()
        known = self.model.objects.get(source.bucket_id, {}).get(source.key)
        slices = _some_slices(known, self._rng) if known else ()
        number = self._rng.randrange(1, 4)
        return self.maker.copy_part(self._upload(), number, source, Manifest(slices))

    def _complete(self) -> Change:
        upload = self._upload()
        known = self.model.uploads.get(upload.upload_id)
        parts = (
            [
                CompletedPart(number, part.etag or "")
                for number, part in sorted(known.parts.items())
                if self._rng.random() < 0.9
            ]
            if known
            else []
        )
        if self._rng.random() < 0.1:
            parts.append(CompletedPart(self._rng.randrange(1, 5), "never"))
        return self.maker.complete(upload, parts, conditions=self._if())


def _place(bucket_id: BucketId, key: bytes, version: Any) -> ObjectRow:
    return ObjectRow(
        bucket_id=bucket_id, key=key, version_id=version, stamp=0, row_stamp=0, size=0, etag="",
        meta=None, manifest=Manifest(), content_id=version, storage_class="",  # type: ignore[arg-type]
    )  # fmt: skip


def _some_slices(content: Content, rng: random.Random) -> tuple[Chunk, ...]:
    slices = content.slices[rng.randrange(len(content.slices) + 1) :][: rng.randrange(3)]
    return tuple(
        Chunk(c.bundle_id, c.number, max(1, c.size // 2), c.start) if rng.random() < 0.3 else c
        for c in slices
    )


def batches(rng: random.Random, count: int) -> list[int]:
    """Return how many changes go into each of `count` batches."""
    return [rng.choice((1, 1, 2, 5)) for _ in range(count)]
