"""S2: one bit changed in anything that is signed, and the request is refused."""

from dataclasses import replace

from tests.security.inputs import Inputs
from tests.security.requests import (
    METHODS,
    flip_bit,
    random_headers,
    random_key,
    random_query,
    target_of,
)
from tests.security.signing import ACCESS_KEY, Wire, ask, presign, sign

from fileflux.ingest.auth import Authenticated
from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.parsed_request import parse_request
from fileflux.ingest.sigv4 import _trimmed

REFUSED = frozenset((400, 403))
"""400: the bit broke the form of the request; 403: the form holds and the signature does not."""


async def _verdict(wire: Wire) -> Authenticated | S3RequestError:
    try:
        return await ask(wire)
    except S3RequestError as error:
        return error


def _meaning(wire: Wire) -> tuple[object, ...]:
    """What a request says, whichever way it is spelled."""
    request = parse_request(wire.raw())
    headers = {name: _trimmed(value) for name, value in request.headers.items()}
    return request.method, request.path, sorted(request.query), headers


async def _assert_refused_or_same(original: Wire, mutated: Wire) -> int:
    verdict = await _verdict(mutated)
    if isinstance(verdict, S3RequestError):
        assert verdict.status in REFUSED, (mutated, verdict)
        return verdict.status
    assert _meaning(mutated) == _meaning(original), mutated
    return 200


def _mutated_header(wire: Wire, rng_choice: int, name: bytes, value: bytes) -> Wire:
    headers = list(wire.headers)
    headers[rng_choice] = (name, value)
    return replace(wire, headers=tuple(headers))


async def test_s2_a_flipped_bit_in_a_header_request_is_refused(inputs: Inputs) -> None:
    rng = inputs.rng
    statuses = {200: 0, 400: 0, 403: 0}
    for _ in inputs.rounds(0.12):
        headers = [pair for pair in random_headers(rng) if pair[0] != "User-Agent"]
        wire = sign(rng.choice(METHODS), target_of(random_key(rng), random_query(rng)), headers)
        where = rng.choice(["method", "path", "query", "value", "value", "value", "name"])
        at = rng.randrange(len(wire.headers))
        name, value = wire.headers[at]
        if where == "method":
            mutated = replace(wire, method=flip_bit(wire.method.encode(), rng).decode("latin-1"))
        elif where == "path":
            mutated = replace(wire, path=flip_bit(wire.path, rng))
        elif where == "query" and wire.query:
            mutated = replace(wire, query=flip_bit(wire.query, rng))
        elif where == "name":
            mutated = _mutated_header(wire, at, flip_bit(name, rng), value)
        else:
            mutated = _mutated_header(wire, at, name, flip_bit(value or b"?", rng))
        statuses[await _assert_refused_or_same(wire, mutated)] += 1

    assert statuses[403] > statuses[400] > 0


async def test_s2_a_flipped_bit_in_a_presigned_request_is_refused(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.06):
        wire = presign(rng.choice(METHODS), target_of(random_key(rng), random_query(rng)))
        if rng.random() < 0.7:
            mutated = replace(wire, query=flip_bit(wire.query, rng))
        else:
            mutated = replace(wire, path=flip_bit(wire.path, rng))
        await _assert_refused_or_same(wire, mutated)


async def test_s2_a_flipped_bit_in_the_authorization_header_is_always_refused(
    inputs: Inputs,
) -> None:
    rng = inputs.rng
    wire = sign("PUT", "/bucket/key?partNumber=1", [("x-amz-meta-a", "b")])
    for _ in inputs.rounds(0.03):
        mutated = wire.with_header("Authorization", flip_bit(wire.header("authorization"), rng))
        verdict = await _verdict(mutated)
        assert isinstance(verdict, S3RequestError), mutated
        assert verdict.status in REFUSED


async def test_s2_every_bit_of_a_signature_counts(inputs: Inputs) -> None:
    header, link = sign("GET", "/bucket/key"), presign("GET", "/bucket/key")
    authorization = header.header("authorization")
    for bit in range(64 * 8):
        at, mask = -1 - bit // 8, 1 << (bit % 8)
        for forged in (
            header.with_header("Authorization", _with_bit(authorization, at, mask)),
            replace(link, query=_with_bit(link.query, at, mask)),
        ):
            inputs.count()
            assert isinstance(await _verdict(forged), S3RequestError)


def _with_bit(data: bytes, at: int, mask: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


async def test_s2_a_signature_made_for_one_form_is_none_in_the_other(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.005):
        key = target_of(random_key(rng), "")
        signature = sign("GET", key).header("authorization").rpartition(b"=")[2]
        link = presign("GET", key)
        swapped = link.query.rpartition(b"=")[0] + b"=" + signature
        assert isinstance(await _verdict(replace(link, query=swapped)), S3RequestError)


async def test_s2_noise_in_place_of_credentials_is_refused(inputs: Inputs) -> None:
    rng = inputs.rng
    words = [
        "AWS4-HMAC-SHA256",
        f"Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request",
        "SignedHeaders=host",
        "Signature=" + "0" * 64,
        ",",
        " ",
        "=",
        "/",
        ";",
        "é",
        "\t",
    ]
    for _ in inputs.rounds(0.02):
        noise = "".join(rng.choice(words) for _ in range(rng.randint(0, 12)))
        wire = sign("GET", "/bucket/key").with_header("Authorization", noise)
        verdict = await _verdict(wire)
        assert isinstance(verdict, S3RequestError)
        assert verdict.status in REFUSED
