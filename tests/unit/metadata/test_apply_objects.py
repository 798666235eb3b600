"""What becomes of keys: put, copied, deleted, accepted for later."""

from dataclasses import replace

import pytest
from tests.model.metadata_changes import AT_US, Maker
from tests.model.metadata_store import Store

from fileflux.core.changes import CreateBucket, PutObject
from fileflux.core.model import Manifest, ObjectMeta, WriteConditions
from fileflux.metadata.rows import ObjectRow


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def bucket(maker: Maker, store: Store) -> CreateBucket:
    made = maker.bucket()
    assert all(outcome.ok for outcome in store.run(maker.user(), made))
    return made


def row_of(store: Store, put: PutObject) -> ObjectRow:
    row = store.object(put.bucket_id, put.key)
    assert row is not None
    return row


def chunk_names(manifest: Manifest) -> set[tuple[bytes, int]]:
    return {(chunk.bundle_id, chunk.number) for chunk in manifest.chunks}


def test_an_outcome_tells_enough_to_answer(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    meta = ObjectMeta(checksums={"CRC32C": "AAAAAA=="})
    put = maker.put(bucket, b"k", meta=meta)

    outcome = store.one(put)

    assert outcome.ok
    assert (outcome.version_id, outcome.etag, outcome.size) == (put.upload_id, put.etag, put.size)
    assert (outcome.checksums, outcome.checksum_type) == ({"CRC32C": "AAAAAA=="}, "FULL_OBJECT")
    assert outcome.stamp == store.writes.stamp > AT_US


def test_the_later_of_two_puts_of_one_key_in_a_batch_wins(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    first, second = maker.put(bucket, b"k"), maker.put(bucket, b"k")

    outcomes = store.run(first, second)

    assert [outcome.ok for outcome in outcomes] == [True, True]
    assert row_of(store, second).version_id == second.upload_id
    assert store.garbage() == chunk_names(first.manifest)
    assert [record.record_id for record in store.records()[-2:]] == [
        first.upload_id,
        second.upload_id,
    ]


@pytest.mark.parametrize(
    ("there", "conditions", "status"),
    [
        (False, WriteConditions(if_none_match="*"), "ok"),
        (True, WriteConditions(if_none_match="*"), "PreconditionFailed"),
        (True, WriteConditions(if_none_match="other"), "ok"),
        (True, WriteConditions(if_none_match="e1"), "PreconditionFailed"),
        (True, WriteConditions(if_match="e1"), "ok"),
        (True, WriteConditions(if_match="*"), "ok"),
        (True, WriteConditions(if_match="other"), "PreconditionFailed"),
        (False, WriteConditions(if_match="e1"), "NoSuchKey"),
        (False, WriteConditions(if_match="*"), "NoSuchKey"),
    ],
)
@pytest.mark.parametrize("operation", ["put", "delete", "copy"])
def test_preconditions_are_decided_on_the_visible_version(
    store: Store,
    maker: Maker,
    bucket: CreateBucket,
    there: bool,
    conditions: WriteConditions,
    status: str,
    operation: str,
) -> None:
    source = maker.put(bucket, b"source")
    store.run(source, *([maker.put(bucket, b"k", etag="e1")] if there else []))
    change = {
        "put": maker.put(bucket, b"k", conditions=conditions),
        "delete": maker.delete(bucket, b"k", conditions=conditions),
        "copy": maker.copy(bucket, b"k", row_of(store, source), conditions=conditions),
    }[operation]

    assert store.one(change).status == status


def test_a_precondition_sees_what_the_same_batch_did_before(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    only_new = WriteConditions(if_none_match="*")
    first = maker.put(bucket, b"k", conditions=only_new)
    second = maker.put(bucket, b"k", conditions=only_new)

    assert [o.status for o in store.run(first, second)] == ["ok", "PreconditionFailed"]
    assert store.garbage() == chunk_names(second.manifest)


def test_a_refused_put_leaves_garbage_and_no_record(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = replace(maker.put(bucket, b"k"), bucket_id=maker.id())
    before = len(store.records())

    assert store.one(put).status == "NoSuchBucket"
    assert store.garbage() == chunk_names(put.manifest)
    assert len(store.records()) == before


def test_a_refused_copy_of_a_seal_leaves_alone_what_an_earlier_seal_stored(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    """The bundle is live: the first seal stored, or dropped, every chunk in it."""
    put = maker.put(bucket, b"k")
    store.run(put)
    again = replace(put, upload_id=maker.id(), bucket_id=maker.id())
    live = {chunk.bundle_id: "live" for chunk in put.manifest.chunks}

    assert store.one(again, [maker.seal(again, states=live)]).status == "NoSuchBucket"
    assert store.garbage() == set()


def test_the_very_same_upload_in_another_seal_changes_nothing(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"k")
    first = store.one(put)
    restaged = replace(put, manifest=maker.chunks(100))

    for again in (put, restaged):
        assert replace(store.one(again), stamp=first.stamp) == first
        assert not store.writes.rows
    assert store.garbage() == chunk_names(restaged.manifest)


def test_deleting_what_is_not_there_succeeds_and_is_not_recorded(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    before = len(store.records())

    assert store.one(maker.delete(bucket, b"k")).ok
    assert len(store.records()) == before


def test_a_key_that_comes_back_has_a_larger_stamp_than_its_removal(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    store.run(maker.put(bucket, b"k"))
    deleted = store.one(maker.delete(bucket, b"k"))
    store.clock_us -= 60_000_000

    assert store.one(maker.put(bucket, b"k")).stamp > deleted.stamp


def test_a_copy_shares_its_content_until_the_last_holder_goes(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"a")
    store.run(put)
    copy = maker.copy(bucket, b"b", row_of(store, put))
    outcome = store.one(copy)
    assert (outcome.etag, outcome.size) == (put.etag, put.size)
    copied = store.object(bucket.bucket_id, b"b")
    assert copied is not None
    assert (copied.content_id, copied.shared) == (put.upload_id, True)
    assert row_of(store, put).shared

    store.run(maker.delete(bucket, b"a"))
    assert store.garbage() == set()
    store.run(maker.delete(bucket, b"b"))
    assert store.garbage() == chunk_names(put.manifest)
    assert store.tables.rows("holders") == {}


def test_a_copy_onto_itself_keeps_the_bytes(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    """How S3 clients replace an object's metadata."""
    put = maker.put(bucket, b"k", meta=ObjectMeta(checksums={"CRC32": "AAAAAA=="}))
    store.run(put)
    source = row_of(store, put)
    copy = maker.copy(bucket, b"k", source, meta=ObjectMeta(user={"colour": "red"}))

    assert store.one(copy).ok
    row = row_of(store, put)
    assert row.version_id == copy.upload_id
    assert row.meta.user == {"colour": "red"}
    assert row.meta.checksums == {"CRC32": "AAAAAA=="}
    assert store.garbage() == set()
    store.run(maker.delete(bucket, b"k"))
    assert store.garbage() == chunk_names(put.manifest)


def test_a_copy_that_comes_twice_is_done_once(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"a")
    store.run(put)
    copy = maker.copy(bucket, b"b", row_of(store, put))

    first, second = store.one(copy), store.one(copy)

    assert first == second
    store.run(maker.delete(bucket, b"a"))
    assert store.garbage() == set()


def test_a_copy_of_another_version_than_was_read_is_refused(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"a")
    store.run(put)
    copy = maker.copy(bucket, b"b", row_of(store, put))
    store.run(maker.put(bucket, b"a"))

    assert store.one(copy).status == "SourceChanged"
    assert store.object(bucket.bucket_id, b"b") is None


def test_a_copy_of_nothing_shares_nothing(store: Store, maker: Maker, bucket: CreateBucket) -> None:
    """0 bytes: there is no content that anybody could hold."""
    put = maker.put(bucket, b"a", manifest=Manifest())
    store.run(put)
    store.run(maker.copy(bucket, b"b", row_of(store, put)))

    assert store.tables.rows("holders") == {}
    assert not row_of(store, put).shared


def test_an_accepted_upload_is_settled_by_its_put(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"k", is_async=True)
    assert store.one(maker.accept(put)).ok
    assert store.tables.get("async_uploads", (put.upload_id,)).state == "accepted"

    assert store.one(put).ok
    assert store.tables.get("async_uploads", (put.upload_id,)).state == "ok"


def test_an_accepted_upload_is_stored_once_though_it_is_overwritten_meanwhile(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    """A seal that is driven again must not bring an old version back."""
    put = maker.put(bucket, b"k", is_async=True)
    store.run(maker.accept(put))
    first = store.one(put)
    later = maker.put(bucket, b"k")
    store.run(later)
    live = {chunk.bundle_id: "live" for chunk in put.manifest.chunks}

    assert store.one(put, [maker.seal(put, states=live)]) == first
    assert row_of(store, later).version_id == later.upload_id


def test_an_accepted_upload_that_is_refused_stays_refused_and_is_recorded(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    only_new = WriteConditions(if_none_match="*")
    put = maker.put(bucket, b"k", is_async=True, conditions=only_new)
    store.run(maker.put(bucket, b"k"), maker.accept(put))
    assert store.one(put).status == "PreconditionFailed"
    assert store.records()[-1].facts["outcome"] == "PreconditionFailed"
    store.run(maker.delete(bucket, b"k"))

    assert store.one(put).status == "PreconditionFailed"
    assert store.object(bucket.bucket_id, b"k") is None


def test_accepting_twice_changes_nothing(store: Store, maker: Maker, bucket: CreateBucket) -> None:
    put = maker.put(bucket, b"k", is_async=True)
    store.run(maker.accept(put))
    store.run(put)

    assert store.one(maker.accept(put)).ok
    assert store.tables.get("async_uploads", (put.upload_id,)).state == "ok"


def test_an_upload_for_a_missing_bucket_is_not_accepted(store: Store, maker: Maker) -> None:
    put = maker.put(maker.bucket(), b"k", is_async=True)

    assert store.one(maker.accept(put)).status == "NoSuchBucket"
