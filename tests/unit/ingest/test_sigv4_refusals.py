"""Each way in which a request can fail to prove who sent it, and the error it gets."""

from dataclasses import replace

import pytest
from tests.security.signing import (
    ACCESS_KEY,
    NOW_S,
    OneKey,
    Wire,
    ask,
    presign,
    sign,
)

from fileflux.core.clock import ManualClock
from fileflux.ingest.auth import AuthSettings, authenticate
from fileflux.ingest.auth_errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidRequest,
    InvalidToken,
    MissingSecurityHeader,
    RequestTimeTooSkewed,
    S3RequestError,
    SignatureDoesNotMatch,
)

PUT = sign("PUT", "/bucket/key", payload="UNSIGNED-PAYLOAD")
GET_LINK = presign("GET", "/bucket/key")


async def _refusal(wire: Wire, **how: int) -> S3RequestError:
    with pytest.raises(S3RequestError) as caught:
        await ask(wire, **how)  # type: ignore[arg-type]
    return caught.value


async def test_nobody_is_refused() -> None:
    assert isinstance(await _refusal(Wire("GET", b"/b/k", b"", ((b"host", b"h"),))), AccessDenied)


async def test_an_unknown_access_key_is_named_as_such() -> None:
    header = PUT.header("authorization").replace(ACCESS_KEY.encode(), b"AKIAOTHER")
    assert isinstance(await _refusal(PUT.with_header("authorization", header)), InvalidAccessKeyId)


async def test_a_key_that_is_switched_off_is_like_an_unknown_one() -> None:
    clock = ManualClock(NOW_S * 1_000_000)
    with pytest.raises(InvalidAccessKeyId):
        await authenticate(PUT.raw(), OneKey(active=False), clock, AuthSettings())


async def test_another_secret_makes_another_signature() -> None:
    other = sign("PUT", "/bucket/key", payload="UNSIGNED-PAYLOAD", secret_key="not the secret")
    assert isinstance(await _refusal(other), SignatureDoesNotMatch)


async def test_a_wrong_region_is_told_the_right_one() -> None:
    error = await _refusal(sign("GET", "/bucket/key", region="eu-west-1"))

    assert isinstance(error, AuthorizationHeaderMalformed)
    assert error.extra == {"Region": "us-east-1"}
    assert "us-east-1" in error.message


async def test_a_wrong_region_of_a_link_is_told_too() -> None:
    error = await _refusal(presign("GET", "/bucket/key", region="eu-west-1"))

    assert isinstance(error, AuthorizationQueryParametersError)
    assert error.extra == {"Region": "us-east-1"}


async def test_a_key_for_another_service_is_refused() -> None:
    error = await _refusal(sign("GET", "/bucket/key", service="sqs"))
    assert isinstance(error, AuthorizationHeaderMalformed)


@pytest.mark.parametrize("skew_s", [-900, 0, 900])
async def test_a_clock_may_be_fifteen_minutes_off(skew_s: int) -> None:
    assert await ask(PUT, now_s=NOW_S + skew_s)


@pytest.mark.parametrize("skew_s", [-901, 901, 10**9])
async def test_a_clock_may_not_be_more_than_fifteen_minutes_off(skew_s: int) -> None:
    error = await _refusal(PUT, now_s=NOW_S + skew_s)

    assert isinstance(error, RequestTimeTooSkewed)
    assert error.extra["RequestTime"] == "20130524T000000Z"
    assert error.extra["MaxAllowedSkewMilliseconds"] == "900000"


@pytest.mark.parametrize(
    "date", ["", "20130524", "20131324T000000Z", "20130524T000060Z", "20130524X000000Z", "2" * 16]
)
async def test_a_time_that_is_none_is_refused(date: str) -> None:
    error = await _refusal(PUT.with_header("X-Amz-Date", date))
    assert isinstance(error, AccessDenied)


async def test_a_request_without_a_time_is_refused() -> None:
    assert isinstance(await _refusal(PUT.without_header("x-amz-date")), AccessDenied)


async def test_the_day_of_the_key_must_be_the_day_of_the_request() -> None:
    header = PUT.header("authorization").replace(b"/20130524/", b"/20130523/")
    error = await _refusal(PUT.with_header("authorization", header))
    assert isinstance(error, AuthorizationHeaderMalformed)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request",
        "AWS4-HMAC-SHA256 Credential=A,SignedHeaders=host,Signature=0",
        "AWS4-HMAC-SHA256 Credential=/20130524/us-east-1/s3/aws4_request,SignedHeaders=host,"
        "Signature=0",
        "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws3,SignedHeaders=host,Signature=0",
        "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request,SignedHeaders=host,"
        "Signature=0,Signature=1",
        "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=x-amz-date;host,Signature=0",
        "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;host,Signature=0",
        "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=Host,Signature=0",
        "AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=",
        "AWS4-ECDSA-P256-SHA256 Credential=A,SignedHeaders=host,Signature=0",
        "Bearer token",
    ],
)
async def test_a_malformed_authorization_header_is_a_bad_request(authorization: str) -> None:
    error = await _refusal(PUT.with_header("authorization", authorization))

    assert isinstance(error, AuthorizationHeaderMalformed | InvalidRequest)
    assert error.status == 400


async def test_the_host_must_be_signed() -> None:
    header = PUT.header("authorization").replace(b"SignedHeaders=host;", b"SignedHeaders=")
    error = await _refusal(PUT.with_header("authorization", header))

    assert isinstance(error, AccessDenied)
    assert error.extra == {"HeadersNotSigned": "host"}


async def test_a_signed_header_must_be_there() -> None:
    signed = sign("GET", "/bucket/key", [("x-amz-meta-a", "1")])
    error = await _refusal(signed.without_header("x-amz-meta-a"))
    assert isinstance(error, SignatureDoesNotMatch)


@pytest.mark.parametrize("name", ["x-amz-copy-source", "X-Amz-Meta-A", "x-amz-acl", "x-amz-x"])
@pytest.mark.parametrize("wire", [PUT, GET_LINK], ids=["header", "link"])
async def test_an_unsigned_amz_header_is_refused(wire: Wire, name: str) -> None:
    """An unsigned x-amz-copy-source once made any presigned upload a read of any object."""
    error = await _refusal(wire.adding(name, "/other/secret"))

    assert isinstance(error, AccessDenied)
    assert error.extra == {"HeadersNotSigned": name.lower()}


async def test_a_header_of_ours_that_steers_must_be_signed_too() -> None:
    assert isinstance(await _refusal(PUT.adding("X-FileFlux-Class", "R1")), AccessDenied)


async def test_the_payloads_hash_needs_no_signature_since_it_is_in_the_canonical_request() -> None:
    link = presign("PUT", "/bucket/key").adding("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    assert await ask(link)
    other = link.with_header("x-amz-content-sha256", "0" * 64)
    assert isinstance(await _refusal(other), SignatureDoesNotMatch)


async def test_a_header_request_names_its_payload() -> None:
    error = await _refusal(PUT.without_header("x-amz-content-sha256"))
    assert isinstance(error, SignatureDoesNotMatch)
    names = PUT.header("authorization").replace(b"x-amz-content-sha256;", b"")
    bare = PUT.without_header("x-amz-content-sha256").with_header("authorization", names)
    assert isinstance(await _refusal(bare), MissingSecurityHeader)


@pytest.mark.parametrize(
    "payload",
    [
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD",
        "unsigned-payload",
        "UNSIGNED-PAYLOAD ,UNSIGNED-PAYLOAD",
        "",
        "0" * 63,
        "0" * 63 + "g",
    ],
)
async def test_a_payload_that_we_cannot_verify_is_refused(payload: str) -> None:
    request = sign("PUT", "/bucket/key", payload=payload or "x")
    error = await _refusal(request.with_header("X-Amz-Content-SHA256", payload))
    assert isinstance(error, InvalidArgument)


@pytest.mark.parametrize("name", ["Authorization", "X-Amz-Date", "X-Amz-Content-SHA256", "Host"])
async def test_a_header_that_can_have_one_meaning_may_be_there_once(name: str) -> None:
    error = await _refusal(PUT.adding(name, PUT.header(name.lower()).decode()))
    assert isinstance(error, InvalidRequest)


async def test_header_and_query_cannot_both_sign() -> None:
    both = replace(PUT, query=GET_LINK.query)
    assert isinstance(await _refusal(both), InvalidArgument)
    one = replace(PUT, query=b"x-amz-expires=5")
    assert isinstance(await _refusal(one), InvalidArgument)


async def test_a_session_token_cannot_be_valid() -> None:
    signed = sign("GET", "/bucket/key", [("x-amz-security-token", "AQoDYXdz")])
    error = await _refusal(signed)
    assert isinstance(error, InvalidToken)
    assert "AQoDYXdz" not in str(error)


async def test_signature_version_2_is_refused_by_name() -> None:
    link = Wire("GET", b"/b/k", b"AWSAccessKeyId=A&Expires=1&Signature=x", ((b"host", b"h"),))
    error = await _refusal(link)
    assert "AWS4-HMAC-SHA256" in error.message


@pytest.mark.parametrize("wire", [PUT, GET_LINK], ids=["header", "link"])
async def test_no_error_shows_what_was_signed(wire: Wire) -> None:
    """Errors are logged; a signature in a log is a key for a quarter of an hour."""
    error = await _refusal(replace(wire, path=b"/bucket/other"))

    shown = f"{error!r} {error} {error.message} {error.extra}"
    for secret in (wire.query.rpartition(b"=")[2], PUT.header("authorization")[-64:]):
        assert secret.decode() not in shown or not secret


async def test_what_the_server_keeps_of_a_request_does_not_print_its_signature() -> None:
    verified = await ask(sign("PUT", "/b/k", payload="UNSIGNED-PAYLOAD"))

    shown = repr(verified) + repr(PUT.raw()) + repr(OneKey().credential)
    assert PUT.header("authorization")[-64:].decode() not in shown
    assert "wJalr" not in shown
