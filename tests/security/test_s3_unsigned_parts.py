"""S3: what nobody signed has no effect, or the request is refused. The table says which."""

from dataclasses import replace

import pytest
from tests.security.inputs import Inputs
from tests.security.requests import random_key, target_of
from tests.security.signing import Wire, ask, presign, sign

from fileflux.ingest.auth import Authenticated
from fileflux.ingest.auth_errors import AccessDenied, S3RequestError

STEERING = (
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-copy-source-if-match",
    "x-amz-metadata-directive",
    "x-amz-tagging",
    "x-amz-acl",
    "x-amz-grant-read",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-object-lock-mode",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-crc32",
    "x-amz-checksum-algorithm",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-date",
    "x-amz-expected-bucket-owner",
    "x-amz-security-token",
    "x-amz-user-agent",
    "X-FileFlux-Class",
    "X-FileFlux-Signature",
)
IGNORED = (
    "X-Forwarded-Host",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "Forwarded",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Real-IP",
    "X-Minio-Source-Replication-Request",
    "X-Container-Host",
    "x-amzn-trace-id",
    "User-Agent",
    "Accept-Encoding",
    "Content-Type",
    "Cookie",
    "Date",
)
"""Content-Type among them: S3 lets an upload form choose it."""


def _signed(inputs: Inputs) -> Wire:
    target = target_of(random_key(inputs.rng), "")
    make = inputs.rng.choice((sign, presign))
    return make("PUT", target)


def _effect(verified: Authenticated) -> tuple[object, ...]:
    request = verified.request
    return request.method, request.bucket, request.key, request.query, verified.principal


async def test_s3_an_unsigned_header_that_steers_is_refused(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.04):
        wire = _signed(inputs)
        name = rng.choice(STEERING)
        if name == "x-amz-date" and b"X-Amz-Date" not in wire.query:
            continue
        spelled = "".join(rng.choice((c.lower(), c.upper())) for c in name)
        with pytest.raises(AccessDenied) as caught:
            await ask(wire.adding(spelled, rng.choice(("/other/secret", "1", "20130524T000000Z"))))
        assert caught.value.extra == {"HeadersNotSigned": name.lower()}


async def test_s3_any_amz_header_that_we_do_not_know_is_refused_too(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.02):
        name = "x-amz-" + "".join(rng.choice("abcdefgh-0") for _ in range(rng.randint(1, 12)))
        with pytest.raises(AccessDenied):
            await ask(_signed(inputs).adding(name, "1"))


async def test_s3_other_unsigned_headers_change_nothing(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.03):
        wire = _signed(inputs)
        more = wire
        for name in rng.sample(IGNORED, 3):
            more = more.adding(name, rng.choice(("DELETE", "/admin", "evil.example", "1")))

        assert _effect(await ask(more)) == _effect(await ask(wire))


async def test_s3_the_host_is_signed_in_both_forms(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        wire = _signed(inputs)
        host = rng.choice(("evil.example", "localhost:9001", "bucket.localhost:9000", ""))
        with pytest.raises(S3RequestError) as caught:
            await ask(wire.with_header("Host", host))
        assert caught.value.status == 403


async def test_s3_a_signature_that_leaves_out_a_header_cannot_be_stretched_over_it(
    inputs: Inputs,
) -> None:
    """Adding the header to SignedHeaders as well changes the canonical request."""
    for _ in inputs.rounds(0.01):
        wire = sign("PUT", target_of(random_key(inputs.rng), ""))
        names = wire.header("authorization").replace(
            b";x-amz-date", b";x-amz-copy-source;x-amz-date"
        )
        stretched = wire.with_header("Authorization", names).adding("x-amz-copy-source", "/a/b")
        with pytest.raises(S3RequestError) as caught:
            await ask(stretched)
        assert caught.value.status == 403


async def test_s3_an_added_query_parameter_is_refused(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.02):
        wire = _signed(inputs)
        more = rng.choice((b"versionId=1", b"uploads", b"x-id=PutObject", b"acl=", b"a=b"))
        query = b"&".join(part for part in (wire.query, more) if part)
        with pytest.raises(S3RequestError) as caught:
            await ask(replace(wire, query=query))
        assert caught.value.status == 403
