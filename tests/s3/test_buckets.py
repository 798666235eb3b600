"""CreateBucket, HeadBucket, DeleteBucket, ListBuckets, GetBucketLocation."""

import uuid
from typing import Any

import pytest


def _name() -> str:
    return f"test-{uuid.uuid4().hex[:20]}"


def test_a_created_bucket_is_listed_and_can_be_headed(s3: Any, bucket: str) -> None:
    names = [entry["Name"] for entry in s3.list_buckets()["Buckets"]]

    assert bucket in names
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_deleted_bucket_is_gone(s3: Any, error_of: Any) -> None:
    name = _name()
    s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket=name)

    assert error_of(s3.head_bucket, Bucket=name) == ("404", 404)
    assert error_of(s3.list_objects_v2, Bucket=name) == ("NoSuchBucket", 404)


def test_a_bucket_with_an_object_cannot_be_deleted(s3: Any, bucket: str, error_of: Any) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")

    assert error_of(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)


def test_creating_ones_own_bucket_again_answers_as_s3_does(
    s3: Any, bucket: str, error_of: Any
) -> None:
    try:
        s3.create_bucket(Bucket=bucket)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        return


def test_the_location_of_a_bucket_in_us_east_1_is_empty(s3: Any, bucket: str) -> None:
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


@pytest.mark.parametrize("name", ["UPPER-case", "ab", "192.168.5.4", "with_underscore", "a..b"])
def test_a_wrong_bucket_name_is_refused(s3: Any, name: str, make_client: Any) -> None:
    s3.meta.events.register_first("before-parameter-build.s3.CreateBucket", lambda **_: None)
    with pytest.raises(Exception, match=r"InvalidBucketName|Invalid bucket name"):
        s3.create_bucket(Bucket=name)


def test_a_bucket_can_be_created_again_after_its_removal(s3: Any) -> None:
    name = _name()
    for _ in range(3):
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="k", Body=b"x")
        s3.delete_object(Bucket=name, Key="k")
        s3.delete_bucket(Bucket=name)


def test_an_operation_that_we_lack_says_its_name(s3: Any, bucket: str, error_of: Any) -> None:
    for call in (
        s3.get_bucket_replication,
        s3.get_bucket_website,
        s3.get_bucket_lifecycle_configuration,
    ):
        code, status = error_of(call, Bucket=bucket)
        assert (code, status) == ("NotImplemented", 501)
