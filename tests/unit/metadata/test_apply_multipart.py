"""Multipart uploads, from their creation to the last byte that is dropped."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from tests.model.metadata_changes import Maker
from tests.model.metadata_store import Store

from fileflux.core.changes import CompletedPart, CreateBucket, CreateMultipart, PutPart
from fileflux.core.checksum import Algorithm, hasher, to_base64
from fileflux.core.model import MIB, Chunk, Manifest, ObjectMeta, WriteConditions
from fileflux.metadata.rows import CONTENT_DEPTH_MAX, ObjectRow


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


@pytest.fixture
def upload(maker: Maker, store: Store, bucket: CreateBucket) -> CreateMultipart:
    made = maker.create_multipart(bucket, b"big", meta=ObjectMeta(user={"colour": "red"}))
    assert store.one(made).ok
    return made


def names(*changes: PutPart) -> set[tuple[bytes, int]]:
    return {(chunk.bundle_id, chunk.number) for c in changes for chunk in c.manifest.chunks}


def big(store: Store, upload: CreateMultipart) -> ObjectRow:
    row = store.object(upload.bucket_id, upload.key)
    assert row is not None
    return row


def test_the_listed_parts_become_one_object_and_the_others_garbage(
    store: Store, maker: Maker, upload: CreateMultipart
) -> None:
    parts = [maker.part(upload, number) for number in (1, 3, 7)]
    store.run(*parts)
    complete = maker.complete(upload, [parts[0], parts[2]])

    outcome = store.one(complete)

    digests = b"".join(bytes.fromhex(part.etag) for part in (parts[0], parts[2]))
    etag = hashlib.md5(digests).hexdigest() + "-2"
    assert (outcome.status, outcome.etag, outcome.size) == ("ok", etag, 10 * MIB)
    row = big(store, upload)
    assert (row.content_id, row.version_id) == (upload.upload_id, complete.upload_id)
    assert row.manifest.parts == ((1, 5 * MIB), (7, 5 * MIB))
    assert row.meta.user == {"colour": "red"}
    assert store.garbage() == names(parts[1])
    assert store.part(upload.upload_id, 1) is not None
    assert store.part(upload.upload_id, 3) is None


def test_overwriting_a_completed_upload_drops_every_part(
    store: Store, maker: Maker, bucket: CreateBucket, upload: CreateMultipart
) -> None:
    parts = [maker.part(upload, number) for number in (1, 2)]
    store.run(*parts)
    store.run(maker.complete(upload, parts))
    store.run(maker.put(bucket, b"big"))

    assert store.garbage() == names(*parts)
    assert store.tables.rows("parts") == {}


def test_a_retried_complete_gets_the_same_answer_whatever_happened_since(
    store: Store, maker: Maker, bucket: CreateBucket, upload: CreateMultipart
) -> None:
    part = maker.part(upload, 1)
    store.run(part)
    first = store.one(maker.complete(upload, [part]))
    store.run(maker.delete(bucket, b"big"), maker.delete_bucket(bucket))
    again = maker.complete(upload, [part])

    assert store.one(again) == replace(first, upload_id=again.upload_id)
    assert store.object(bucket.bucket_id, b"big") is None


@pytest.mark.parametrize("end", ["complete", "abort"])
def test_a_part_that_comes_late_is_refused_and_garbage(
    store: Store, maker: Maker, upload: CreateMultipart, end: str
) -> None:
    part, late = maker.part(upload, 1), maker.part(upload, 2)
    store.run(part)
    assert store.one(
        maker.complete(upload, [part]) if end == "complete" else maker.abort(upload)
    ).ok
    before = store.garbage()

    assert store.one(late).status == "NoSuchUpload"
    assert store.garbage() - before == names(late)


def test_a_part_in_another_seal_again_keeps_its_bytes(
    store: Store, maker: Maker, upload: CreateMultipart
) -> None:
    part = maker.part(upload, 1)
    first = store.one(part)

    assert store.one(part) == first
    assert store.garbage() == set()


def test_an_aborted_upload_leaves_only_garbage(
    store: Store, maker: Maker, upload: CreateMultipart
) -> None:
    parts = [maker.part(upload, number) for number in (1, 2)]
    store.run(*parts)

    assert store.one(maker.abort(upload)).ok
    assert store.garbage() == names(*parts)
    assert store.one(maker.abort(upload)).status == "NoSuchUpload"
    assert store.one(maker.complete(upload, parts)).status == "NoSuchUpload"


def test_an_upload_is_known_under_its_own_key_only(
    store: Store, maker: Maker, upload: CreateMultipart
) -> None:
    part = maker.part(upload, 1)

    assert store.one(replace(part, key=b"other")).status == "NoSuchUpload"
    assert store.one(replace(maker.complete(upload, [part]), key=b"other")).status == "NoSuchUpload"


@pytest.mark.parametrize(
    ("listed", "status"),
    [
        ([], "MalformedXML"),
        ([2, 1], "InvalidPartOrder"),
        ([1, 1], "InvalidPartOrder"),
        ([1, 4], "InvalidPart"),
        ([1, 2, 3], "EntityTooSmall"),
        ([1, 2], "ok"),
    ],
)
def test_a_list_of_parts_must_be_right(
    store: Store, maker: Maker, upload: CreateMultipart, listed: list[int], status: str
) -> None:
    parts = {
        1: maker.part(upload, 1),
        2: maker.part(upload, 2, manifest=maker.chunks(10)),
        3: maker.part(upload, 3),
        4: maker.part(upload, 4),
    }
    store.run(parts[1], parts[2], parts[3])

    complete = maker.complete(upload, [parts[number] for number in listed])
    assert store.one(complete).status == status


@pytest.mark.parametrize(
    "listed", [CompletedPart(1, "other"), CompletedPart(1, "e1", {"CRC32": "BBBBBB=="})]
)
def test_a_listed_part_must_be_the_one_that_is_there(
    store: Store, maker: Maker, upload: CreateMultipart, listed: CompletedPart
) -> None:
    meta = ObjectMeta(checksums={"CRC32": "AAAAAA=="})
    store.run(maker.part(upload, 1, etag="e1", meta=meta))

    assert store.one(maker.complete(upload, [listed])).status == "InvalidPart"
    right = CompletedPart(1, "e1", {"CRC32": "AAAAAA=="})
    assert store.one(maker.complete(upload, [right])).ok


def test_a_failed_precondition_leaves_the_upload_open(
    store: Store, maker: Maker, bucket: CreateBucket, upload: CreateMultipart
) -> None:
    part = maker.part(upload, 1)
    store.run(part, maker.put(bucket, b"big"))
    only_new = WriteConditions(if_none_match="*")

    refused = store.one(maker.complete(upload, [part], conditions=only_new))
    assert refused.status == "PreconditionFailed"
    assert store.one(maker.complete(upload, [part])).ok


PIECES = (b"a" * (5 * MIB), b"bc" * 77)


def parts_with(maker: Maker, upload: CreateMultipart, algorithm: Algorithm) -> list[PutPart]:
    parts = []
    for number, piece in enumerate(PIECES, start=1):
        digest = hasher(algorithm)
        digest.update(piece)
        meta = ObjectMeta(checksums={algorithm.value: to_base64(digest.digest())})
        parts.append(maker.part(upload, number, manifest=maker.chunks(len(piece)), meta=meta))
    return parts


def digest_of(algorithm: Algorithm, *pieces: bytes) -> str:
    digest = hasher(algorithm)
    for piece in pieces:
        digest.update(piece)
    return to_base64(digest.digest())


@pytest.mark.parametrize("algorithm", [Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME])
@pytest.mark.parametrize("is_named", [True, False])
def test_the_checksum_of_the_whole_is_that_of_its_bytes(
    store: Store, maker: Maker, bucket: CreateBucket, algorithm: Algorithm, is_named: bool
) -> None:
    """Named at creation or not, CRCs of parts combine to what one upload would have had."""
    asked: dict[str, Any] = {"checksum_algorithm": algorithm, "checksum_type": "FULL_OBJECT"}
    upload = maker.create_multipart(bucket, b"big", **(asked if is_named else {}))
    store.run(upload)
    parts = parts_with(maker, upload, algorithm)
    store.run(*parts)
    whole = digest_of(algorithm, *PIECES)
    wrong = digest_of(algorithm, b"x")

    refused = store.one(maker.complete(upload, parts, checksums={algorithm.value: wrong}))
    assert refused.status == "BadDigest"
    outcome = store.one(maker.complete(upload, parts, checksums={algorithm.value: whole}))
    assert outcome.checksums == {algorithm.value: whole}
    assert outcome.checksum_type == "FULL_OBJECT"
    assert big(store, upload).meta.checksums == {algorithm.value: whole}


@pytest.mark.parametrize("algorithm", [Algorithm.SHA256, Algorithm.SHA1, Algorithm.CRC32C])
@pytest.mark.parametrize("form", ["{}", "{}-2"])
def test_a_composite_checksum_is_that_of_the_parts_checksums(
    store: Store, maker: Maker, bucket: CreateBucket, algorithm: Algorithm, form: str
) -> None:
    upload = maker.create_multipart(bucket, b"big", checksum_algorithm=algorithm)
    store.run(upload)
    parts = parts_with(maker, upload, algorithm)
    store.run(*parts)
    raw = [hasher(algorithm) for _ in PIECES]
    for digest, piece in zip(raw, PIECES, strict=True):
        digest.update(piece)
    whole = digest_of(algorithm, *(digest.digest() for digest in raw))

    claimed = {algorithm.value: form.format(whole)}
    outcome = store.one(maker.complete(upload, parts, checksums=claimed))
    assert outcome.checksums == {algorithm.value: f"{whole}-2"}
    assert outcome.checksum_type == "COMPOSITE"


def test_a_claim_that_the_parts_cannot_confirm_is_refused(
    store: Store, maker: Maker, upload: CreateMultipart
) -> None:
    part = maker.part(upload, 1)
    store.run(part)

    claim = maker.complete(upload, [part], checksums={"CRC32": "AAAAAA=="})
    assert store.one(claim).status == "BadDigest"


@pytest.mark.parametrize(
    "wrong", [{"object_size": 1}, {"checksum_type": "COMPOSITE"}], ids=["size", "type"]
)
def test_what_the_client_says_of_the_whole_must_be_right(
    store: Store, maker: Maker, bucket: CreateBucket, wrong: dict[str, Any]
) -> None:
    upload = maker.create_multipart(
        bucket, b"big", checksum_algorithm="CRC64NVME", checksum_type="FULL_OBJECT"
    )
    part = maker.part(upload, 1)
    store.run(upload, part)

    assert store.one(maker.complete(upload, [part], **wrong)).status == "InvalidRequest"
    assert store.one(maker.complete(upload, [part], object_size=5 * MIB)).ok


def test_a_copied_part_keeps_all_of_its_source_until_it_goes(
    store: Store, maker: Maker, bucket: CreateBucket, upload: CreateMultipart
) -> None:
    """Two of three chunks are in no manifest any more, yet they are garbage only with the last."""
    source = maker.put(bucket, b"source", manifest=maker.chunks(100, 200, 300))
    store.run(source)
    row = store.object(bucket.bucket_id, b"source")
    assert row is not None
    bundle_id = source.manifest.chunks[1].bundle_id
    copied = maker.copy_part(upload, 1, row, Manifest((Chunk(bundle_id, 1, 50, start=7),)))
    assert store.one(copied).ok

    store.run(maker.delete(bucket, b"source"))
    assert store.garbage() == set()
    store.run(maker.abort(upload))
    assert store.garbage() == {(bundle_id, 0), (bundle_id, 1), (bundle_id, 2)}
    assert [row.size for row in store.tables.rows("garbage").values()] == [600]
    assert store.tables.rows("holders") == {}


def test_a_part_copied_again_from_the_same_source_still_holds_it(
    store: Store, maker: Maker, bucket: CreateBucket, upload: CreateMultipart
) -> None:
    source = maker.put(bucket, b"source")
    store.run(source)
    for _ in range(2):
        row = store.object(bucket.bucket_id, b"source")
        assert row is not None
        assert store.one(maker.copy_part(upload, 1, row, row.manifest)).ok
    store.run(maker.delete(bucket, b"source"))

    assert store.garbage() == set()
    store.run(maker.put(bucket, b"source"), maker.part(upload, 1))
    assert store.garbage() == {(source.manifest.chunks[0].bundle_id, 0)}


def test_a_long_chain_of_copied_parts_is_dropped_step_by_step(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    """Appending by copying makes it; a transaction follows it only so deep."""
    source = maker.put(bucket, b"key", manifest=maker.chunks(5 * MIB))
    store.run(source)
    for _ in range(60):
        row = store.object(bucket.bucket_id, b"key")
        assert row is not None
        upload = maker.create_multipart(bucket, b"key")
        part = maker.copy_part(upload, 1, row, source.manifest)
        assert all(o.ok for o in store.run(upload, part, maker.complete(upload, [part])))
    assert store.garbage() == set()

    store.run(maker.delete(bucket, b"key"))
    assert 60 // (CONTENT_DEPTH_MAX + 1) <= store.drop_left_behind(maker) <= 60 // CONTENT_DEPTH_MAX
    assert store.garbage() == {(source.manifest.chunks[0].bundle_id, 0)}
    assert store.tables.rows("parts") == {}
    assert store.tables.rows("holders") == {}


def test_content_that_somebody_holds_is_not_dropped(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"a")
    store.run(put)
    row = store.object(bucket.bucket_id, b"a")
    assert row is not None
    store.run(maker.copy(bucket, b"b", row), maker.delete(bucket, b"a"))

    for content_id in (row.content_id, maker.id()):
        assert store.one(maker.drop(content_id)).status == "NoSuchContent"
    assert store.garbage() == set()


def test_an_upload_id_is_taken_once(store: Store, maker: Maker, upload: CreateMultipart) -> None:
    assert store.one(replace(upload, key=b"other")).status == "OperationAborted"
