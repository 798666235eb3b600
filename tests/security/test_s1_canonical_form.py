"""S1: our canonical request is botocore's, for every odd path, query and header.

Where the two differ a client is refused, or a request means something that nobody signed.
"""

import pytest
from tests.security.inputs import Inputs
from tests.security.requests import (
    METHODS,
    loosely_encoded,
    random_headers,
    random_key,
    random_query,
    target_of,
)
from tests.security.signing import Wire, ask, presign, sign

from fileflux.ingest import sigv4
from fileflux.ingest.auth import Authenticated, scheme_of
from fileflux.ingest.auth_errors import SignatureDoesNotMatch
from fileflux.ingest.claim import SIGNATURE_PARAM, claim_of_header, claim_of_query
from fileflux.ingest.parsed_request import parse_request


def _canonical(wire: Wire, payload_hash: str) -> str:
    request = parse_request(wire.raw())
    if "authorization" in request.headers:
        claim = claim_of_header(request.headers["authorization"], request.headers["x-amz-date"])
    else:
        claim = claim_of_query(request.query)
    return sigv4.canonical_request(
        request.method,
        request.path,
        [pair for pair in request.query if pair[0] != SIGNATURE_PARAM],
        headers=request.headers,
        signed_headers=claim.signed_headers,
        payload_hash=payload_hash,
    )


def _assert_same_meaning(verified: Authenticated, key: str, wire: Wire) -> None:
    assert verified.request.bucket == "bucket"
    assert verified.request.key == key.encode()
    assert verified.scheme is scheme_of(parse_request(wire.raw()))


async def test_s1_a_header_request_has_one_canonical_form(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.14):
        key = random_key(rng)
        wire = sign(rng.choice(METHODS), target_of(key, random_query(rng)), random_headers(rng))
        payload = wire.header("x-amz-content-sha256").decode()

        assert _canonical(wire, payload) == wire.canonical
        _assert_same_meaning(await ask(wire), key, wire)


async def test_s1_a_presigned_request_has_one_canonical_form(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.07):
        key = random_key(rng)
        headers = [pair for pair in random_headers(rng) if pair[0] != "User-Agent"]
        wire = presign(rng.choice(METHODS), target_of(key, random_query(rng)), headers)

        assert _canonical(wire, "UNSIGNED-PAYLOAD") == wire.canonical
        _assert_same_meaning(await ask(wire), key, wire)


async def test_s1_another_spelling_of_the_same_path_is_the_same_request(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.03):
        key = random_key(rng)
        wire = sign("GET", target_of(key, ""))
        spelled = loosely_encoded(b"/bucket/" + key.encode(), rng)
        respelled = Wire(wire.method, spelled, wire.query, wire.headers)

        _assert_same_meaning(await ask(respelled), key, respelled)


async def test_s1_a_path_signed_twice_encoded_is_not_s3s(inputs: Inputs) -> None:
    """Other services of AWS encode the path twice; S3 does not."""
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        key = "a b" + random_key(rng)
        once = target_of(key, "")
        twice = sign("GET", target_of(once.removeprefix("/bucket/"), ""))
        with pytest.raises(SignatureDoesNotMatch):
            await ask(Wire("GET", once.encode(), b"", twice.headers))
