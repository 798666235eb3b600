"""PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects, CopyObject through boto3."""

import hashlib
import io
import os
from typing import Any

import pytest

MIB = 1 << 20
SIZES = [0, 1, 4096, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 8 * MIB, 8 * MIB + 1, 20 * MIB]


@pytest.mark.parametrize("size", SIZES)
def test_an_object_of_any_size_comes_back_byte_for_byte(s3: Any, bucket: str, size: int) -> None:
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key=f"size-{size}", Body=body)
    got = s3.get_object(Bucket=bucket, Key=f"size-{size}")

    assert got["Body"].read() == body
    assert got["ContentLength"] == size
    assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


@pytest.mark.parametrize("size", [10, 5 * MIB])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_each_checksum_is_verified_stored_and_returned(
    s3: Any, bucket: str, size: int, algorithm: str
) -> None:
    name = f"Checksum{algorithm}"
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")

    assert put[name] == head[name]
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == body


def test_a_wrong_checksum_stores_nothing(s3: Any, bucket: str, error_of: Any) -> None:
    wrong = {"Bucket": bucket, "Key": "k", "Body": b"hello", "ChecksumCRC32": "AAAAAA=="}

    assert error_of(s3.put_object, **wrong) == ("BadDigest", 400)
    assert error_of(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


def test_a_wrong_content_md5_stores_nothing(s3: Any, bucket: str, error_of: Any) -> None:
    wrong = {
        "Bucket": bucket,
        "Key": "k",
        "Body": b"hello",
        "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
    }

    assert error_of(s3.put_object, **wrong) == ("BadDigest", 400)
    assert error_of(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


def test_a_stream_of_unknown_kind_can_be_put(s3: Any, bucket: str) -> None:
    body = os.urandom(3 * MIB)
    s3.put_object(Bucket=bucket, Key="stream", Body=io.BytesIO(body))

    assert s3.get_object(Bucket=bucket, Key="stream")["Body"].read() == body


def test_headers_and_metadata_come_back(s3: Any, bucket: str) -> None:
    s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        ContentType="text/x-test",
        CacheControl="no-store",
        ContentDisposition='attachment; filename="a b.txt"',
        ContentEncoding="identity",
        ContentLanguage="de",
        Metadata={"Colour": "blue", "empty": ""},
    )
    head = s3.head_object(Bucket=bucket, Key="k")

    assert head["ContentType"] == "text/x-test"
    assert head["CacheControl"] == "no-store"
    assert head["ContentDisposition"] == 'attachment; filename="a b.txt"'
    assert head["ContentEncoding"] == "identity"
    assert head["ContentLanguage"] == "de"
    assert head["Metadata"] == {"colour": "blue", "empty": ""}
    assert "LastModified" in head


@pytest.mark.parametrize(
    "key",
    [
        "a/b//c/",
        "space and+plus",
        "../up/../x",
        "üñí/日本語",
        "per%2Fcent",
        "q?a=b&c#d",
        "x" * 1024,
        "'\"<>&;$()`|\\",
    ],
)
def test_a_key_is_stored_exactly_as_it_was_given(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())

    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [e["Key"] for e in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


def test_a_key_of_1025_bytes_is_refused(s3: Any, bucket: str, error_of: Any) -> None:
    assert error_of(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == (
        "KeyTooLongError",
        400,
    )


def test_overwriting_shows_the_new_bytes_at_once(s3: Any, bucket: str) -> None:
    for number in range(5):
        s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % number * (number * 400_000 + 1))
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read()[:1] == b"%d" % number


def test_a_deleted_object_is_gone_and_deleting_it_again_succeeds(
    s3: Any, bucket: str, error_of: Any
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k")

    assert error_of(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_delete_objects_removes_a_thousand_keys_at_once(s3: Any, bucket: str) -> None:
    keys = [f"k/{number:04}" for number in range(60)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    wanted = [{"Key": key} for key in [*keys, *(f"absent/{n}" for n in range(940))]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})

    assert len(answer["Deleted"]) == 1000
    assert "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("size", [100, 10 * MIB + 7])
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=50-", 50, None),
        ("bytes=-7", -7, None),
        ("bytes=10-10", 10, 11),
        ("bytes=0-99999999999", 0, None),
        ("bytes=65530-65545", 65530, 65546),
        ("bytes=8388600-8388620", 8388600, 8388621),
    ],
)
def test_a_range_is_exactly_those_bytes(
    s3: Any, bucket: str, size: int, wanted: str, start: int, stop: int | None
) -> None:
    if start >= size:
        pytest.skip("the range lies beyond this object")
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    got = s3.get_object(Bucket=bucket, Key="k", Range=wanted)

    assert got["Body"].read() == body[start:stop]
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"].endswith(f"/{size}")


def test_a_range_beyond_the_end_is_416(s3: Any, bucket: str, error_of: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"12345")

    assert error_of(s3.get_object, Bucket=bucket, Key="k", Range="bytes=5-") == (
        "InvalidRange",
        416,
    )


def test_conditional_reads_follow_the_etag_and_the_date(
    s3: Any, bucket: str, error_of: Any
) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]

    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["ETag"] == etag
    assert error_of(s3.get_object, Bucket=bucket, Key="k", IfMatch='"no"') == (
        "PreconditionFailed",
        412,
    )
    assert error_of(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag) == ("304", 304)
    assert error_of(s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=modified) == ("304", 304)
    assert s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=modified)["ETag"] == etag


def test_response_overrides_are_sent_back(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    got = s3.get_object(
        Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="max-age=5"
    )

    assert (got["ContentType"], got["CacheControl"]) == ("a/b", "max-age=5")


def test_if_none_match_star_creates_only_once(s3: Any, bucket: str, error_of: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")

    again = {"Bucket": bucket, "Key": "k", "Body": b"second", "IfNoneMatch": "*"}
    assert error_of(s3.put_object, **again) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"


def test_if_match_replaces_only_the_version_that_was_seen(
    s3: Any, bucket: str, error_of: Any
) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)

    assert error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"3", IfMatch=etag)[1] == 412
    missing = {"Bucket": bucket, "Key": "absent", "Body": b"3", "IfMatch": etag}
    assert error_of(s3.put_object, **missing) == ("NoSuchKey", 404)


def test_a_copy_has_the_bytes_and_outlives_its_source(s3: Any, bucket: str) -> None:
    body = os.urandom(9 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=body, Metadata={"a": "1"})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "source"})
    s3.delete_object(Bucket=bucket, Key="source")
    got = s3.get_object(Bucket=bucket, Key="copy")

    assert got["Body"].read() == body
    assert got["Metadata"] == {"a": "1"}


def test_a_copy_may_replace_the_metadata(s3: Any, bucket: str, error_of: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "1"})
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(
        Bucket=bucket, Key="k", CopySource=source, Metadata={"b": "2"}, MetadataDirective="REPLACE"
    )

    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"b": "2"}
    code, status = error_of(s3.copy_object, Bucket=bucket, Key="k", CopySource=source)
    assert (code, status) == ("InvalidRequest", 400)


def test_a_copy_of_a_missing_key_is_refused(s3: Any, bucket: str, error_of: Any) -> None:
    source = {"Bucket": bucket, "Key": "absent"}

    assert error_of(s3.copy_object, Bucket=bucket, Key="k", CopySource=source) == ("NoSuchKey", 404)


def test_expect_100_continue_and_a_refused_body(s3: Any, error_of: Any) -> None:
    wrong = {"Bucket": "no-such-bucket-here", "Key": "k", "Body": os.urandom(3 * MIB)}

    assert error_of(s3.put_object, **wrong) == ("NoSuchBucket", 404)
