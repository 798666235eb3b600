"""Names are what S3 allows; keys are any UTF-8, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.ingest.copy_source import CopySource, parse_copy_source
from fileflux.ingest.names import (
    check_key,
    check_version_id,
    parse_part_number,
    parse_upload_id,
)
from fileflux.ingest.s3_errors import S3Error


@pytest.mark.parametrize(
    "key",
    [
        b"a",
        b"../../etc/passwd",
        b".",
        b"..",
        b"a//b/",
        b"/",
        b"\x00",
        b"a\r\nb",
        b"\\",
        "é".encode(),
    ],
)
def test_a_key_is_any_text(key: bytes) -> None:
    check_key(key)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (b"", "UserKeyMustBeSpecified"),
        (b"x" * 1025, "KeyTooLongError"),
        ("é".encode() * 513, "KeyTooLongError"),
        (b"\xff", "InvalidURI"),
        (b"\xc0\xaf", "InvalidURI"),
        (b"\xed\xa0\x80", "InvalidURI"),
    ],
)
def test_a_key_that_cannot_be_is_refused(key: bytes, code: str) -> None:
    with pytest.raises(S3Error) as refusal:
        check_key(key)

    assert (refusal.value.code, refusal.value.status) == (code, 400)


def test_a_key_has_1024_bytes_at_most() -> None:
    check_key(b"x" * 1024)


def test_only_the_current_version_can_be_named() -> None:
    check_version_id(None)
    check_version_id("null")
    with pytest.raises(S3Error, match="NoSuchVersion"):
        check_version_id("3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")
    with pytest.raises(S3Error, match="InvalidArgument"):
        check_version_id("")


@pytest.mark.parametrize("text", [None, "", "0" * 31, "0" * 33, "G" * 32, "AB" * 16, "0 " * 16])
def test_an_upload_that_we_cannot_have_begun_does_not_exist(text: str | None) -> None:
    with pytest.raises(S3Error) as refusal:
        parse_upload_id(text)

    assert (refusal.value.code, refusal.value.status) == ("NoSuchUpload", 404)


def test_an_upload_id_is_16_bytes() -> None:
    assert parse_upload_id("ab" * 16) == b"\xab" * 16


@pytest.mark.parametrize("text", [None, "", "0", "10001", "-1", "1.5", "\uff11", "9" * 5000])
def test_a_part_number_lies_between_1_and_10000(text: str | None) -> None:
    assert (parse_part_number("1"), parse_part_number("10000")) == (1, 10_000)
    with pytest.raises(S3Error, match="InvalidArgument"):
        parse_part_number(text)


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("bucket/key", CopySource("bucket", b"key")),
        ("/bucket/a/b", CopySource("bucket", b"a/b")),
        ("/bucket//a", CopySource("bucket", b"/a")),
        ("%2Fbucket%2Fa%2Fb", CopySource("bucket", b"a/b")),
        ("/bucket/a%20b%2Bc+d", CopySource("bucket", b"a b+c+d")),
        ("/bucket/a b", CopySource("bucket", b"a b")),
        ("/bucket/a%3Fb?versionId=null", CopySource("bucket", b"a?b", "null")),
        ("/bucket/a?versionId=", CopySource("bucket", b"a", "")),
        ("/bucket/%2525", CopySource("bucket", b"%25")),
        ("/bucket/%C3%A9", CopySource("bucket", "é".encode())),
        ("/bucket/" + "é".encode().decode("latin-1"), CopySource("bucket", "é".encode())),
        ("/bucket/../other/key", CopySource("bucket", b"../other/key")),
    ],
)
def test_a_copy_s_source_is_decoded_once(value: str, source: CopySource) -> None:
    assert parse_copy_source(value) == source


@pytest.mark.parametrize(
    "value",
    ["", "/", "bucket", "/bucket/", "//key", "/b/key", "/bucket/a?b", "/bucket/a%2", "/bucket/a#b",
     "arn:aws:s3:us-east-1:1:accesspoint/a/object/b", "/Bucket/key", "/192.168.0.1/key"],
)  # fmt: skip
def test_a_copy_s_source_must_name_an_object(value: str) -> None:
    with pytest.raises(S3Error) as refusal:
        parse_copy_source(value)

    assert (refusal.value.code, refusal.value.status) == ("InvalidArgument", 400)


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"/bucket/{text}"))
def test_no_copy_source_is_worse_than_refused(value: str) -> None:
    try:
        found = parse_copy_source(value)
    except S3Error as refusal:
        status = refusal.status
    else:
        status = 400
        check_key(found.key)
    assert status == 400
