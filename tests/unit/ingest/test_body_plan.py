"""What headers may promise about a body, and which promises contradict each other."""

from collections.abc import Mapping

import pytest
from tests.security.streaming import signer_from

from fileflux.core.checksum import Algorithm
from fileflux.ingest.auth_errors import (
    InvalidArgument,
    InvalidDigest,
    InvalidRequest,
    MissingContentLength,
    S3RequestError,
)
from fileflux.ingest.body_plan import BodyLimits, BodyPlan, plan_body, stored_content_encoding
from fileflux.ingest.payload_mode import PLAIN, PayloadKind, PayloadMode, kind_of, payload_mode

LENGTH = {"content-length": "4"}
CRC32 = {"x-amz-checksum-crc32": "AAAAAA=="}


def _plan(headers: Mapping[str, str], payload: PayloadMode = PLAIN) -> BodyPlan:
    return plan_body(headers, payload, BodyLimits())


def _mode(content_sha256: str, headers: Mapping[str, str]) -> PayloadMode:
    return payload_mode(kind_of(content_sha256), content_sha256, headers, signer_from("0" * 64))


def test_a_body_needs_a_length() -> None:
    with pytest.raises(MissingContentLength) as caught:
        _plan({})
    assert caught.value.status == 411
    with pytest.raises(MissingContentLength):
        _plan({"transfer-encoding": "chunked"})


def test_where_no_length_is_required_none_means_no_body_unless_it_is_chunked() -> None:
    limits = BodyLimits(length_required=False)

    assert plan_body({}, PLAIN, limits).size == 0
    assert plan_body({"transfer-encoding": "Chunked"}, PLAIN, limits).size is None


def test_an_aws_chunked_body_over_https_has_no_content_length() -> None:
    """What boto3 sends since 2025; a server that wants Content-Length refuses all its uploads."""
    headers = {
        "transfer-encoding": "chunked",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "4",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm": "CRC32",
    }
    payload = _mode("STREAMING-UNSIGNED-PAYLOAD-TRAILER", headers)
    plan = _plan(headers, payload)

    assert plan == BodyPlan(size=4, md5=None, algorithm=Algorithm.CRC32, checksum=None)


def test_an_aws_chunked_body_needs_its_decoded_length() -> None:
    with pytest.raises(MissingContentLength):
        _mode("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {"content-length": "90"})


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.0", " 1", "0x1", "1e3", "\N{ARABIC-INDIC DIGIT ONE}", "1" * 17, "1,1"],
)
def test_a_length_is_a_plain_number(text: str) -> None:
    with pytest.raises(InvalidRequest):
        _plan({"content-length": text})
    with pytest.raises(InvalidRequest):
        _mode("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {"x-amz-decoded-content-length": text})


@pytest.mark.parametrize(
    "headers",
    [
        LENGTH | {"transfer-encoding": "chunked"},
        {"transfer-encoding": "gzip, chunked"},
        {"transfer-encoding": "identity"},
    ],
)
def test_a_length_and_a_transfer_coding_contradict_each_other(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        _plan(headers)


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "A" * 24, "1B2M2Y8AsgTpgAmY7PhCfg=x"])
def test_a_content_md5_is_sixteen_bytes(text: str) -> None:
    with pytest.raises(InvalidDigest):
        _plan(LENGTH | {"content-md5": text})


@pytest.mark.parametrize(
    "headers",
    [
        CRC32 | {"x-amz-checksum-sha1": "2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
        {"x-amz-checksum-crc32": "AAAA"},
        {"x-amz-checksum-crc32": "AAAAAA==,AAAAAA=="},
        {"x-amz-checksum-md4": "AAAAAA=="},
        {"x-amz-checksum-sha512": "AAAAAA=="},
        CRC32 | {"x-amz-sdk-checksum-algorithm": "SHA256"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
    ],
)
def test_a_checksum_is_one_and_well_formed_and_the_announced_one(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        _plan(LENGTH | headers)


def test_what_only_talks_about_checksums_is_none() -> None:
    about = {
        "x-amz-checksum-mode": "ENABLED",
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-amz-checksum-algorithm": "SHA1",
    }
    plan = _plan(LENGTH | CRC32 | about)

    assert (plan.algorithm, plan.checksum) == (Algorithm.CRC32, "AAAAAA==")


def test_a_checksum_comes_in_the_header_or_in_the_trailer_not_in_both() -> None:
    payload = PayloadMode(
        PayloadKind.UNSIGNED_CHUNKS_TRAILER, trailer=Algorithm.CRC32, decoded_length=4
    )
    with pytest.raises(InvalidRequest):
        _plan(CRC32, payload)


@pytest.mark.parametrize(
    ("content_sha256", "headers"),
    [
        ("UNSIGNED-PAYLOAD", {"content-encoding": "aws-chunked"}),
        ("UNSIGNED-PAYLOAD", {"content-encoding": "gzip, AWS-Chunked"}),
        ("0" * 64, {"content-encoding": "aws-chunked"}),
        ("UNSIGNED-PAYLOAD", {"x-amz-trailer": "x-amz-checksum-crc32"}),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {"x-amz-trailer": "x-amz-checksum-crc32"}),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", {}),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", {"x-amz-trailer": "content-type"}),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", {"x-amz-trailer": ""}),
        (
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            {"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
        ),
    ],
)
def test_framing_that_the_payload_mode_does_not_have_is_refused(
    content_sha256: str, headers: dict[str, str]
) -> None:
    """Storing a framed body as a plain one corrupts it without anybody noticing."""
    with pytest.raises(S3RequestError):
        _mode(content_sha256, headers | {"x-amz-decoded-content-length": "4"})


def test_a_payload_hash_may_be_in_either_case() -> None:
    assert _mode("AB" * 32, {}).sha256 == "ab" * 32


def test_an_unknown_payload_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        kind_of("STREAMING-SOMETHING")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (None, None),
        ("gzip", "gzip"),
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("AWS-chunked , br, gzip", "br,gzip"),
        ("aws-chunked,", None),
    ],
)
def test_the_stored_encoding_is_the_objects_own(sent: str | None, stored: str | None) -> None:
    headers = {} if sent is None else {"content-encoding": sent}
    assert stored_content_encoding(headers) == stored
