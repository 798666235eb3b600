"""A signature for one internal request is no signature for another."""

import pytest

from fileflux.core import internal_auth

SECRET = b"a shared secret of the cluster"
NOW_US = 1_767_225_600_000_000


def _verify(value: str, **changed: object) -> bool:
    request: dict[str, object] = {"method": "GET", "target": "/v1/x?a=1", "now_us": NOW_US}
    return internal_auth.verify(SECRET, value, **{**request, **changed})  # type: ignore[arg-type]


def test_a_signed_request_is_accepted_for_five_minutes() -> None:
    value = internal_auth.sign(SECRET, method="GET", target="/v1/x?a=1", now_us=NOW_US)

    assert _verify(value)
    assert _verify(value, now_us=NOW_US + 299_000_000)
    assert not _verify(value, now_us=NOW_US + 301_000_000)
    assert not _verify(value, now_us=NOW_US - 301_000_000)


@pytest.mark.parametrize(
    "changed", [{"method": "HEAD"}, {"target": "/v1/x?a=2"}, {"body": b"more"}]
)
def test_it_holds_for_nothing_else(changed: dict[str, object]) -> None:
    value = internal_auth.sign(SECRET, method="GET", target="/v1/x?a=1", now_us=NOW_US)

    assert not _verify(value, **changed)


@pytest.mark.parametrize(
    "value", ["", ":", "1", "x:y", "-5:00", "9" * 40 + ":00", "\u0661:00", "1:é"]
)
def test_garbage_is_refused_and_never_raises(value: str) -> None:
    assert not _verify(value)


def test_what_a_request_promises_of_its_body_is_known_before_the_body() -> None:
    request = {"method": "POST", "target": "/v1/x", "now_us": NOW_US}
    value = internal_auth.sign(SECRET, **request, body=b"a body")  # type: ignore[arg-type]
    bare = internal_auth.sign(SECRET, **request)  # type: ignore[arg-type]
    promised = internal_auth.verify_head(SECRET, value, **request)  # type: ignore[arg-type]

    assert promised == internal_auth.body_hash(b"a body")
    assert internal_auth.verify_head(SECRET, bare, **request) == ""  # type: ignore[arg-type]
    for changed in (value[:-1], value + "0", value.rpartition(":")[0], bare + ":00"):
        assert internal_auth.verify_head(SECRET, changed, **request) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "is_right"), [(b"a body", True), (b"another", False), (b"", False)]
)
def test_a_signature_with_a_body_holds_for_that_body(sent: bytes, is_right: bool) -> None:
    value = internal_auth.sign(
        SECRET, method="GET", target="/v1/x?a=1", now_us=NOW_US, body=b"a body"
    )

    assert _verify(value, body=sent) == is_right
