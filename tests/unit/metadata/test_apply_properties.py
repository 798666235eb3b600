"""Random sequences of changes, decided by `apply` and by a model that knows nothing of rows."""

import random
from collections.abc import Sequence

from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from tests.model.change_storm import Storm, batches
from tests.model.metadata_store import Store
from tests.model.object_model import ObjectModel

from fileflux.core.changes import (
    AbortMultipart,
    Change,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateMultipart,
    DeleteBucket,
    DeleteObject,
    PutObject,
    PutPart,
)
from fileflux.metadata.parts_budget import USUAL, Limits

TINY = Limits(depth=1, parts=2, uploads=1)


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


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), limits=st.sampled_from((USUAL, TINY)))
@example(seed=7376, limits=TINY)
def test_any_sequence_of_changes_leaves_what_the_model_says(seed: int, limits: Limits) -> None:
    """Same answers, same objects, same bytes; and the garbage is exactly what nobody holds."""
    rng = random.Random(seed)
    storm, store = Storm(rng), Store(limits=limits)
    store.run(storm.maker.user())
    for size in batches(rng, 40):
        drawn = [storm.change() for _ in range(size)]
        store.clock_us += rng.choice((-10_000_000, 0, 1, 1_000))
        outcomes = store.run(*(change for change, _ in drawn))

        told = [outcome.status for outcome in outcomes]
        assert told == [
            _wanted(change, status, got, drawn)
            for (change, status), got in zip(drawn, told, strict=True)
        ]
        assert_same_state(store, storm.model)
        assert store.garbage() <= storm.model.garbage()
        if store.drop_left_behind(storm.maker):
            event("something was left behind")
        assert store.garbage() == storm.model.garbage()
        for change, status in drawn:
            event(f"{type(change).__name__}: {status}")


def _wanted(change: Change, status: str, got: str, drawn: Sequence[tuple[Change, str]]) -> str:
    """An upload that its bucket's deletion left open may still be aborted: the compactor does it.

    The model knows no such rest; within a batch a client may come before the compactor.
    """
    deleted = {one.bucket_id for one, _ in drawn if isinstance(one, DeleteBucket)}
    is_rest = isinstance(change, AbortMultipart) and change.bucket_id in deleted
    return got if is_rest and (status, got) == ("NoSuchBucket", "ok") else status


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
