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
