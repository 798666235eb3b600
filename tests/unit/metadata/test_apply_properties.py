"""Random sequences of changes, decided by `apply` and by a model that knows nothing of rows."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.model.metadata_changes import Maker
from tests.model.metadata_store import Store
from tests.model.object_model import Content, ObjectModel

from fileflux.core.changes import (
    AbortMultipart,
    Change,
    CompletedPart,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateMultipart,
    DeleteBucket,
    DeleteObject,
    PutObject,
    PutPart,
)
from fileflux.core.ids import BucketId
from fileflux.core.model import Chunk, Manifest, WriteConditions
from fileflux.metadata.rows import CONTENT_DEPTH_MAX, ObjectRow

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


def assert_same_state(store: Store, model: ObjectModel) -> None:
    found = store.objects()
    wanted = {
        (bucket_id, key): content
        for bucket_id, objects in model.objects.items()
        for key, content in objects.items()
    }
    assert found.keys() == wanted.keys()
    for place, content in wanted.items():
        row = found[place]
        assert row.version_id == content.version
        assert store.bytes_of(row) == list(content.slices)
        assert row.size == content.size
        assert content.etag in (None, row.etag)
    names = {row.name: row.bucket_id for row in store.tables.rows("buckets").values()}
    assert names == model.names


def batches(rng: random.Random, count: int) -> list[int]:
    """Return how many changes go into each of `count` batches."""
    return [rng.choice((1, 1, 2, 5)) for _ in range(count)]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), depth_max=st.sampled_from((1, CONTENT_DEPTH_MAX)))
def test_any_sequence_of_changes_leaves_what_the_model_says(seed: int, depth_max: int) -> None:
    """Same answers, same objects, same bytes; and the garbage is exactly what nobody holds."""
    rng = random.Random(seed)
    storm, store = Storm(rng), Store(depth_max=depth_max)
    store.run(storm.maker.user())
    for size in batches(rng, 40):
        drawn = [storm.change() for _ in range(size)]
        store.clock_us += rng.choice((-10_000_000, 0, 1, 1_000))
        outcomes = store.run(*(change for change, _ in drawn))

        assert [outcome.status for outcome in outcomes] == [status for _, status in drawn]
        assert_same_state(store, storm.model)
        assert store.garbage() <= storm.model.garbage()
        if store.drop_left_behind(storm.maker):
            event("content lay too deep to be dropped at once")
        assert store.garbage() == storm.model.garbage()
        for change, status in drawn:
            event(f"{type(change).__name__}: {status}")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_the_audit_records_alone_rebuild_every_audited_row(seed: int) -> None:
    """I9: replayed in the order of stamps, whatever the clock did, from stored bytes only."""
    rng = random.Random(seed)
    storm, store = Storm(rng), Store()
    store.run(storm.maker.user())
    for size in batches(rng, 40):
        store.clock_us += rng.choice((-10_000_000, 0, 1, 1_000))
        store.run(*(storm.change()[0] for _ in range(size)))

    assert store.rebuilt() == store.audited()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_stamps_grow_per_key_and_per_dependency_though_the_clock_goes_back(seed: int) -> None:
    """Also where a row was removed meanwhile: its floor remembers."""
    rng = random.Random(seed)
    storm, store = Storm(rng), Store()
    store.run(storm.maker.user())
    last: dict[tuple[object, ...], int] = {}
    for size in batches(rng, 40):
        store.clock_us -= rng.randrange(0, 10_000)
        drawn = [storm.change()[0] for _ in range(size)]
        store.run(*drawn)
        recorded = {record.record_id for record in store.writes.audit}
        done = [change for change in drawn if change.upload_id in recorded]
        stamp = store.writes.stamp
        written: set[tuple[object, ...]] = set(store.writes.rows)
        for name in written | {name for change in done for name in _comes_after(change)}:
            assert stamp > last.get(name, 0), name
        for write in store.writes.rows.values():
            assert write.row is None or write.row.row_stamp == stamp
        last |= dict.fromkeys(written, stamp)
        last |= {name: stamp for change in done for name in _comes_before(change)}


def _comes_before(change: Change) -> Sequence[tuple[object, ...]]:
    """Return what a change that was done is part of."""
    if isinstance(change, CreateBucket | DeleteBucket):
        return [("name", change.bucket)]
    if isinstance(change, PutObject | CopyObject | DeleteObject | CreateMultipart | AbortMultipart):
        return [("in", change.bucket_id)]
    return []


def _comes_after(change: Change) -> Sequence[tuple[object, ...]]:
    """Return what a change that was done must come after, beside the rows it wrote."""
    match change:
        case CreateBucket():
            return [("name", change.bucket)]
        case DeleteBucket():
            return [("buckets", (change.bucket_id,)), ("in", change.bucket_id)]
        case CopyObject():
            source = (change.source_bucket_id, change.source_key)
            return [("objects", source), ("buckets", (change.bucket_id,))]
        case PutObject() | CreateMultipart():
            return [("buckets", (change.bucket_id,))]
        case PutPart() | CopyPart():
            return [("uploads", (change.multipart_id,))]
    return []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_usage_in_the_records_adds_up_to_what_is_visible(seed: int) -> None:
    rng = random.Random(seed)
    storm, store = Storm(rng), Store()
    store.run(storm.maker.user())
    for size in batches(rng, 40):
        store.run(*(storm.change()[0] for _ in range(size)))
    usage: dict[str, list[int]] = {}
    for record in store.records():
        for bucket, delta in record.facts.get("usage", {}).items():  # type: ignore[attr-defined]
            usage[bucket] = [a + b for a, b in zip(usage.get(bucket, [0, 0]), delta, strict=True)]

    visible = {bucket: [0, 0] for bucket in usage}
    for row in store.objects().values():
        visible[row.bucket_id.hex()][0] += 1
        visible[row.bucket_id.hex()][1] += row.size
    assert usage == visible
