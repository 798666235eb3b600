"""ListObjects v1 and V2: prefix, delimiter, paging, encoding."""

from typing import Any

import pytest

KEYS = ["a", "b/1", "b/2", "b/c/3", "d", "e f", "z/", "ü"]


@pytest.fixture
def filled(s3: Any, bucket: str) -> str:
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def test_all_keys_come_in_byte_order(s3: Any, filled: str) -> None:
    page = s3.list_objects_v2(Bucket=filled)

    assert [entry["Key"] for entry in page["Contents"]] == sorted(KEYS, key=str.encode)
    assert page["KeyCount"] == len(KEYS)
    assert page["IsTruncated"] is False
    assert page["Contents"][0]["Size"] == 1
    assert page["Contents"][0]["StorageClass"] == "STANDARD"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_pages_of_any_size_give_every_key_once(
    s3: Any, filled: str, operation: str, size: int
) -> None:
    pages = s3.get_paginator(operation).paginate(Bucket=filled, PaginationConfig={"PageSize": size})
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    assert keys == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_a_delimiter_folds_keys_into_common_prefixes(
    s3: Any, filled: str, operation: str, size: int
) -> None:
    pages = s3.get_paginator(operation).paginate(
        Bucket=filled, Delimiter="/", PaginationConfig={"PageSize": size}
    )
    keys, prefixes = [], []
    for page in pages:
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]

    assert keys == ["a", "d", "e f", "ü"]
    assert prefixes == ["b/", "z/"]


def test_a_prefix_and_a_start_narrow_the_listing(s3: Any, filled: str) -> None:
    page = s3.list_objects_v2(Bucket=filled, Prefix="b/", StartAfter="b/1")

    assert [entry["Key"] for entry in page["Contents"]] == ["b/2", "b/c/3"]


def test_max_keys_zero_gives_nothing(s3: Any, filled: str) -> None:
    page = s3.list_objects_v2(Bucket=filled, MaxKeys=0)

    assert page["KeyCount"] == 0
    assert page["IsTruncated"] is False


def test_a_token_that_was_tampered_with_is_refused(s3: Any, filled: str, error_of: Any) -> None:
    code, status = error_of(s3.list_objects_v2, Bucket=filled, ContinuationToken="not-a-token")

    assert (code, status) == ("InvalidArgument", 400)


def test_a_put_is_listed_at_once_and_a_deleted_key_is_not(s3: Any, bucket: str) -> None:
    for number in range(20):
        key = f"k{number}"
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        assert key in [e["Key"] for e in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        s3.delete_object(Bucket=bucket, Key=key)
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
