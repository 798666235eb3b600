"""HTTP Basic: names and passwords."""

import base64
import time
from typing import Literal

import pytest
from argon2 import PasswordHasher
from tests.security.signing import NOW_S, SETTINGS, USER, OneKey

from fileflux.core.clock import ManualClock
from fileflux.core.errors import SlowDown
from fileflux.ingest import basic
from fileflux.ingest.auth import Authenticated, Scheme, authenticate
from fileflux.ingest.auth_errors import AccessDenied, InvalidRequest, PasswordRefused
from fileflux.ingest.basic import Account, ArgonPasswords
from fileflux.ingest.parsed_request import RawRequest
from fileflux.ingest.payload_mode import PLAIN

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


class _Accounts:
    def __init__(self, password: str = "right") -> None:
        self.password_hash = CHEAP.hash(password)
        self.lookups = 0

    async def account_named(self, name: str) -> Account | None:
        self.lookups += 1
        if name == "keyless":
            return Account(USER, name, "")
        return Account(USER, name, self.password_hash) if name == "alice" else None


class _CountingHasher(PasswordHasher):
    verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        type(self).verified += 1
        return CHEAP.verify(hash, password)


def _basic(text: str | bytes, scheme: str = "Basic") -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return f"{scheme} {base64.b64encode(raw).decode()}".encode()


async def _ask(
    authorization: bytes, *headers: tuple[bytes, bytes], passwords: ArgonPasswords | None = None
) -> Authenticated:
    raw = RawRequest("GET", b"/b/k", b"", ((b"Authorization", authorization), *headers))
    clock = ManualClock(NOW_S * 1_000_000)
    passwords = passwords or ArgonPasswords(_Accounts(), CHEAP)
    return await authenticate(raw, OneKey(), clock, SETTINGS, passwords=passwords)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
async def test_a_right_password_is_a_principal(scheme: str) -> None:
    verified = await _ask(_basic("alice:right", scheme))

    assert verified.scheme is Scheme.BASIC
    assert (verified.principal.user_id, verified.principal.name) == (USER, "alice")
    assert verified.payload == PLAIN


async def test_a_password_may_hold_colons_and_any_character() -> None:
    passwords = ArgonPasswords(_Accounts("a:b:ü\U0001f511"), CHEAP)
    assert await _ask(_basic("alice:a:b:ü\U0001f511"), passwords=passwords)


@pytest.mark.parametrize(
    "authorization",
    [
        _basic("alice:wrong"),
        _basic("alice:"),
        _basic("bob:right"),
        _basic("keyless:"),
        _basic("alice"),
        _basic(":right"),
        _basic("alice\x00:right"),
        _basic(b"\xff:right"),
        b"Basic ",
        b"Basic !!!",
        b"Basic " + b"A" * 4096,
    ],
)
async def test_every_wrong_password_gets_the_same_answer(authorization: bytes) -> None:
    with pytest.raises(PasswordRefused) as caught:
        await _ask(authorization)
    assert caught.value.status == 401


async def test_a_right_password_is_hashed_once_and_a_wrong_one_each_time() -> None:
    _CountingHasher.verified = 0
    passwords = ArgonPasswords(_Accounts(), _CountingHasher())
    for _ in range(3):
        await _ask(_basic("alice:right"), passwords=passwords)
        with pytest.raises(PasswordRefused):
            await _ask(_basic("alice:wrong"), passwords=passwords)

    assert _CountingHasher.verified == 1 + 3


async def test_a_changed_password_is_forgotten_at_once() -> None:
    accounts = _Accounts()
    passwords = ArgonPasswords(accounts, CHEAP)
    await _ask(_basic("alice:right"), passwords=passwords)
    accounts.password_hash = CHEAP.hash("new")

    with pytest.raises(PasswordRefused):
        await _ask(_basic("alice:right"), passwords=passwords)
    assert await _ask(_basic("alice:new"), passwords=passwords)


async def test_a_password_remembered_costs_microseconds() -> None:
    passwords = ArgonPasswords(_Accounts(), CHEAP)
    await passwords.verify("alice", "right")
    began = time.process_time()
    for _ in range(100):
        await passwords.verify("alice", "right")

    assert (time.process_time() - began) / 100 < 0.001


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "REMEMBERED_MAX", 3)
    accounts = _Accounts()
    passwords = ArgonPasswords(accounts, CHEAP)
    for number in range(6):
        accounts.password_hash = CHEAP.hash(str(number))
        await passwords.verify("alice", str(number))

    assert len(passwords._remembered) == 3


async def test_too_many_guesses_at_once_are_told_to_slow_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(basic, "WAITING_MAX", 0)
    with pytest.raises(SlowDown):
        await ArgonPasswords(_Accounts(), CHEAP).verify("alice", "wrong")
    with pytest.raises(SlowDown):
        await ArgonPasswords(_Accounts(), CHEAP).hash("a registration waits in the same line")


async def test_a_new_password_is_stored_as_argon2id() -> None:
    hashed = await ArgonPasswords(_Accounts(), CHEAP).hash("secret")

    assert hashed.startswith("$argon2id$")
    assert CHEAP.verify(hashed, "secret")


async def test_without_a_password_store_basic_is_nobody() -> None:
    raw = RawRequest("GET", b"/b/k", b"", ((b"Authorization", _basic("alice:right")),))
    with pytest.raises(AccessDenied):
        await authenticate(raw, OneKey(), ManualClock(), SETTINGS)


async def test_a_password_cannot_vouch_for_signed_chunks() -> None:
    header = (b"x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    with pytest.raises(InvalidRequest):
        await _ask(_basic("alice:right"), header)
