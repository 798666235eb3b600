"""Presigned URLs, unsigned payloads, and what a client must not be able to do."""

import os
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest


def _open(
    url: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    ca = os.environ.get("FILEFLUX_TEST_CA")
    context = ssl.create_default_context(cafile=ca) if ca else None
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def presigner(make_client: Any, root_keys: tuple[str, str]) -> Any:
    """boto3 signs URLs by SigV2 until told otherwise; here, as in new regions, that is refused."""
    return make_client(*root_keys, signature_version="s3v4")


def test_a_presigned_url_puts_and_gets(presigner: Any, bucket: str) -> None:
    put = presigner.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    get = presigner.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})

    assert _open(put, "PUT", b"by url")[0] == 200
    assert _open(get) == (200, b"by url")


def test_a_presigned_url_is_good_for_nothing_else(s3: Any, presigner: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    get = presigner.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})

    assert _open(get, "DELETE")[0] == 403
    assert _open(get.replace("/k?", "/other?"))[0] == 403
    assert _open(get + "&extra=1")[0] == 403


def test_an_unsigned_amz_header_is_refused(s3: Any, presigner: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="secret", Body=b"secret")
    put = presigner.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    status, body = _open(put, "PUT", b"", **{"x-amz-copy-source": f"/{bucket}/secret"})

    assert status == 403
    assert b"AccessDenied" in body


def test_an_anonymous_request_is_denied(endpoint: str, bucket: str) -> None:
    status, body = _open(f"{endpoint}/{bucket}/k")

    assert status == 403
    assert b"<Code>AccessDenied</Code>" in body


def test_a_wrong_secret_is_told_apart_from_an_unknown_key(
    make_client: Any, root_keys: tuple[str, str], bucket: str, error_of: Any
) -> None:
    wrong = make_client(root_keys[0], "wrong" * 8)
    unknown = make_client("FFUNKNOWNKEY00000000", "wrong" * 8)

    assert error_of(wrong.list_buckets) == ("SignatureDoesNotMatch", 403)
    assert error_of(unknown.list_buckets) == ("InvalidAccessKeyId", 403)


@pytest.mark.parametrize("signed", [True, False])
def test_payload_signing_on_and_off_store_the_same(
    make_client: Any, root_keys: tuple[str, str], bucket: str, signed: bool
) -> None:
    client = make_client(*root_keys, s3={"payload_signing_enabled": signed})
    body = os.urandom(2_000_000)
    client.put_object(Bucket=bucket, Key="k", Body=body)

    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == body
