"""S5: a presigned URL is good for one method, host and path, from its date for its time."""

from dataclasses import replace
from urllib.parse import quote

import pytest
from tests.security.inputs import Inputs
from tests.security.requests import METHODS, random_key, random_query, target_of
from tests.security.signing import NOW_S, Wire, ask, presign

from fileflux.ingest import sigv4
from fileflux.ingest.auth_errors import (
    AccessDenied,
    AuthorizationQueryParametersError,
    S3RequestError,
)

PARAMS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
WEEK_S = 604_800


async def _refusal(wire: Wire, *, now_s: int = NOW_S) -> S3RequestError:
    with pytest.raises(S3RequestError) as caught:
        await ask(wire, now_s=now_s)
    assert caught.value.status in (400, 403)
    return caught.value


def _link(inputs: Inputs, **how: object) -> Wire:
    target = target_of(random_key(inputs.rng), random_query(inputs.rng))
    return presign("GET", target, **how)  # type: ignore[arg-type]


async def test_s5_a_link_works_from_its_date_to_its_end(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.02):
        expires_s = rng.choice((1, 60, WEEK_S, rng.randint(1, WEEK_S)))
        link = _link(inputs, expires=expires_s)
        for good_s in (-900, 0, expires_s):
            assert await ask(link, now_s=NOW_S + good_s)
        late, early = expires_s + rng.randint(1, 10**6), -901 - rng.randint(0, 10**6)
        assert "expired" in (await _refusal(link, now_s=NOW_S + late)).message
        assert "not valid yet" in (await _refusal(link, now_s=NOW_S + early)).message


@pytest.mark.parametrize(
    "expires",
    ["0", "-1", "604801", "9999999", "", "NaN", "1e3", "+60", " 60", "60 ", "6_0", "0x3c", "٣"],
)
async def test_s5_a_time_to_live_outside_of_a_week_is_refused(expires: str, inputs: Inputs) -> None:
    for _ in inputs.rounds(0.0004):
        link = _link(inputs, expires=expires)
        assert isinstance(await _refusal(link), AuthorizationQueryParametersError)


async def test_s5_each_parameter_must_be_there(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        link = _link(inputs)
        gone = rng.choice(PARAMS).encode()
        kept = b"&".join(p for p in link.query.split(b"&") if not p.startswith(gone + b"="))
        await _refusal(replace(link, query=kept))


async def test_s5_no_parameter_may_be_there_twice_or_in_another_spelling(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.02):
        link = _link(inputs)
        items = link.query.split(b"&")
        name = rng.choice(PARAMS).encode()
        at = next(i for i, item in enumerate(items) if item.startswith(name + b"="))
        value = items[at].partition(b"=")[2]
        spelled = rng.choice((name, name.lower(), name.upper()))
        more = spelled + b"=" + rng.choice((value, b"", b"1"))
        if rng.random() < 0.5:
            items.insert(rng.randint(0, len(items)), more)
        elif spelled != name:
            items[at] = more
        else:
            continue
        assert isinstance(
            await _refusal(replace(link, query=b"&".join(items))),
            AuthorizationQueryParametersError,
        )


async def test_s5_the_scope_is_that_of_this_day_region_and_service(inputs: Inputs) -> None:
    rng = inputs.rng
    wrong = (
        (b"20130524%2F", b"20130523%2F"),
        (b"%2Fus-east-1%2F", b"%2Feu-west-1%2F"),
        (b"%2Fs3%2F", b"%2Fec2%2F"),
        (b"%2Faws4_request", b"%2Faws3_request"),
        (b"%2Faws4_request", b""),
        (b"AKIAIOSFODNN7EXAMPLE", b""),
    )
    for _ in inputs.rounds(0.01):
        link = _link(inputs)
        old, new = rng.choice(wrong)
        await _refusal(replace(link, query=link.query.replace(old, new, 1)))
    for _ in inputs.rounds(0.005):
        other = (
            _link(inputs, region="eu-west-1")
            if rng.random() < 0.5
            else _link(inputs, service="iam")
        )
        assert isinstance(await _refusal(other), AuthorizationQueryParametersError)


async def test_s5_the_date_of_the_link_is_signed(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        link = _link(inputs)
        other = sigv4.format_timestamp(NOW_S + rng.randint(1, 86_399)).encode()
        moved = link.query.replace(b"20130524T000000Z", other)
        await _refusal(replace(link, query=moved), now_s=NOW_S + 3_000)


async def test_s5_a_link_is_for_one_method_and_one_host(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        link = _link(inputs)
        method = rng.choice([m for m in METHODS if m != "GET"])
        assert (await _refusal(replace(link, method=method))).status == 403
        assert (await _refusal(link.with_header("Host", "other.example"))).status == 403


async def test_s5_a_link_cannot_name_another_time_to_live(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        link = _link(inputs, expires=60)
        longer = f"X-Amz-Expires={rng.randint(61, WEEK_S)}".encode()
        changed = link.query.replace(b"X-Amz-Expires=60", longer)
        assert (await _refusal(replace(link, query=changed))).status == 403


@pytest.mark.parametrize(
    "payload",
    [
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ],
)
async def test_s5_a_link_cannot_be_turned_into_a_streaming_upload(
    payload: str, inputs: Inputs
) -> None:
    """Servers that chose their verifier by this header took such uploads unverified."""
    for _ in inputs.rounds(0.002):
        link = presign("PUT", target_of(random_key(inputs.rng), ""))
        streaming = (
            link.adding("x-amz-content-sha256", payload)
            .adding("x-amz-decoded-content-length", "4")
            .adding("x-amz-trailer", "x-amz-checksum-crc32")
        )
        assert (await _refusal(streaming)).status == 403
        named = replace(link, query=link.query + f"&X-Amz-Content-Sha256={payload}".encode())
        assert (await _refusal(named)).status == 403
        whole = presign("PUT", f"/bucket/key?X-Amz-Content-Sha256={quote(payload)}")
        await _refusal(whole)


async def test_s5_an_expired_link_says_when(inputs: Inputs) -> None:
    inputs.count()
    error = await _refusal(_link(inputs, expires=60), now_s=NOW_S + 61)

    assert isinstance(error, AccessDenied)
    assert error.extra == {
        "RequestTime": "20130524T000000Z",
        "ServerTime": "20130524T000101Z",
        "X-Amz-Expires": "60",
    }
