"""The multipart family, UploadPartCopy and the listings among it."""

import hashlib
import os
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

MIB = 1 << 20


def _upload(
    s3: Any, bucket: str, key: str, bodies: list[bytes], **create: Any
) -> tuple[str, list[Any]]:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, **create)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    return upload_id, parts


def _complete(s3: Any, bucket: str, key: str, upload_id: str, parts: list[Any]) -> Any:
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
    )


def test_the_parts_become_one_object(s3: Any, bucket: str) -> None:
    bodies = [os.urandom(5 * MIB), os.urandom(9 * MIB), os.urandom(123)]
    upload_id, parts = _upload(s3, bucket, "k", bodies, ContentType="a/b", Metadata={"m": "1"})
    done = _complete(s3, bucket, "k", upload_id, parts)
    got = s3.get_object(Bucket=bucket, Key="k")
    digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()

    assert got["Body"].read() == b"".join(bodies)
    assert done["ETag"] == got["ETag"] == f'"{digest}-3"'
    assert got["ContentType"] == "a/b"
    assert got["Metadata"] == {"m": "1"}


def test_completing_twice_gives_the_same_answer(s3: Any, bucket: str) -> None:
    upload_id, parts = _upload(s3, bucket, "k", [b"only"])
    first = _complete(s3, bucket, "k", upload_id, parts)
    second = _complete(s3, bucket, "k", upload_id, parts)

    assert first["ETag"] == second["ETag"]


def test_ranges_and_part_numbers_cross_part_borders(s3: Any, bucket: str) -> None:
    bodies = [os.urandom(5 * MIB), os.urandom(5 * MIB + 3), os.urandom(10)]
    upload_id, parts = _upload(s3, bucket, "k", bodies)
    _complete(s3, bucket, "k", upload_id, parts)
    whole = b"".join(bodies)
    ranged = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={5 * MIB - 2}-{10 * MIB + 5}")
    part = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)

    assert ranged["Body"].read() == whole[5 * MIB - 2 : 10 * MIB + 6]
    assert part["Body"].read() == bodies[1]
    assert part["PartsCount"] == 3


def test_a_part_may_be_replaced_before_completion(s3: Any, bucket: str) -> None:
    upload_id, _ = _upload(s3, bucket, "k", [b"old"])
    answer = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=b"new")
    _complete(s3, bucket, "k", upload_id, [{"PartNumber": 1, "ETag": answer["ETag"]}])

    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_wrong_part_lists_are_refused(s3: Any, bucket: str, error_of: Any) -> None:
    upload_id, parts = _upload(s3, bucket, "k", [b"1", b"2"])

    def complete(listed: list[Any]) -> tuple[str, int]:
        arguments = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
        found: tuple[str, int] = error_of(
            s3.complete_multipart_upload, **arguments, MultipartUpload={"Parts": listed}
        )
        return found

    assert complete(parts) == ("EntityTooSmall", 400)
    assert complete(parts[::-1]) == ("InvalidPartOrder", 400)
    assert complete([{"PartNumber": 9, "ETag": '"x"'}]) == ("InvalidPart", 400)
    assert complete([{**parts[0], "ETag": parts[1]["ETag"]}]) == ("InvalidPart", 400)


def test_an_aborted_upload_is_gone(s3: Any, bucket: str, error_of: Any) -> None:
    upload_id, parts = _upload(s3, bucket, "k", [b"1"])
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id)
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}

    assert error_of(s3.list_parts, **arguments) == ("NoSuchUpload", 404)
    assert error_of(s3.upload_part, **arguments, PartNumber=1, Body=b"x") == ("NoSuchUpload", 404)
    assert error_of(
        s3.complete_multipart_upload, **arguments, MultipartUpload={"Parts": parts}
    ) == ("NoSuchUpload", 404)


def test_uploads_and_parts_are_listed_page_by_page(s3: Any, bucket: str) -> None:
    uploads = {key: _upload(s3, bucket, key, [b"1", b"2", b"3"])[0] for key in ("a", "b/1", "b/2")}
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 1}
    )
    found = {one["Key"]: one["UploadId"] for page in pages for one in page.get("Uploads", [])}
    part_pages = s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="a", UploadId=uploads["a"], PaginationConfig={"PageSize": 2}
    )
    numbers = [part["PartNumber"] for page in part_pages for part in page.get("Parts", [])]

    assert found == uploads
    assert numbers == [1, 2, 3]
    for key, upload_id in uploads.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def test_a_part_can_be_copied_from_another_object(s3: Any, bucket: str) -> None:
    source = os.urandom(12 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    parts = []
    for number, wanted in enumerate(["bytes=100-5242979", "bytes=6000000-12582911"], 1):
        answer = s3.upload_part_copy(
            Bucket=bucket,
            Key="k",
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": "source"},
            CopySourceRange=wanted,
        )
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    _complete(s3, bucket, "k", upload_id, parts)
    s3.delete_object(Bucket=bucket, Key="source")

    expected = source[100:5_242_980] + source[6_000_000:]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == expected


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_the_checksums_of_parts_become_the_objects(s3: Any, bucket: str, algorithm: str) -> None:
    name = f"Checksum{algorithm}"
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm)
    parts = []
    for number, body in enumerate([os.urandom(5 * MIB), b"tail"], 1):
        answer = s3.upload_part(
            Bucket=bucket,
            Key="k",
            UploadId=created["UploadId"],
            PartNumber=number,
            Body=body,
            ChecksumAlgorithm=algorithm,
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    done = _complete(s3, bucket, "k", created["UploadId"], parts)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")

    assert done[name] == head[name]
    assert done["ChecksumType"] == ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")


def test_the_transfer_manager_stores_and_fetches_a_large_file(
    s3: Any, bucket: str, tmp_path: Any
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(40 * MIB + 11))
    s3.upload_file(str(source), bucket, "big", Config=TransferConfig(multipart_chunksize=8 * MIB))
    s3.download_file(bucket, "big", str(target))

    assert target.read_bytes() == source.read_bytes()
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-6"')


def test_if_none_match_is_decided_at_completion(s3: Any, bucket: str, error_of: Any) -> None:
    upload_id, parts = _upload(s3, bucket, "k", [b"multi"])
    s3.put_object(Bucket=bucket, Key="k", Body=b"first")
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "IfNoneMatch": "*"}

    code, status = error_of(
        s3.complete_multipart_upload, **arguments, MultipartUpload={"Parts": parts}
    )
    assert (code, status) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"
