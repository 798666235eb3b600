"""HTTP Basic for the REST endpoints: a user's name and password against an Argon2 hash.

Argon2 takes tens of milliseconds and tens of megabytes by design. A correct password is therefore
remembered, as a digest under a key that only this process has and that covers the stored hash: a
changed password is forgotten with it. Wrong ones are never remembered, and few run at once.
"""

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fileflux.core.errors import SlowDown
from fileflux.core.ids import UserId
from fileflux.ingest.auth_errors import PasswordRefused

REMEMBERED_MAX: Final = 4096
RUNNING_MAX: Final = 2
"""Each run holds 64 MiB: more at once would make a password guesser a memory hog."""
WAITING_MAX: Final = 64
"""About a second and a half of runs. Beyond that the client is told to come back."""
BASIC_SIZE_MAX: Final = 2048

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may log in by password. An empty hash: may not."""

    user_id: UserId
    name: str
    password_hash: str = field(repr=False)
    is_root: bool = False


class AccountStore(Protocol):
    """Users by name."""

    async def account_named(self, name: str) -> Account | None:
        """Return the user, None if there is none. May be some seconds old."""


class PasswordStore(Protocol):
    """Says whose password it is."""

    async def verify(self, name: str, password: str) -> Account:
        """Return the account; raise PasswordRefused, or SlowDown when too many are tried."""


def name_and_password(authorization: str) -> tuple[str, str]:
    """Read an `Authorization: Basic` header; raise PasswordRefused for a malformed one."""
    encoded = authorization[6:].strip(" ")
    if len(encoded) > BASIC_SIZE_MAX:
        raise PasswordRefused
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise PasswordRefused("The Authorization header is not valid HTTP Basic.") from None
    name, colon, password = text.partition(":")
    if not (name and colon and name.isprintable()):
        raise PasswordRefused("The Authorization header is not valid HTTP Basic.")
    return name, password


class ArgonPasswords:
    """The `PasswordStore` over users with Argon2 hashes."""

    def __init__(self, accounts: AccountStore, hasher: PasswordHasher | None = None) -> None:
        self._accounts = accounts
        self._hasher = hasher or PasswordHasher()
        self._nobodys_hash = self._hasher.hash(secrets.token_hex())
        self._key = secrets.token_bytes(64)
        self._remembered: OrderedDict[bytes, None] = OrderedDict()
        self._running = asyncio.Semaphore(RUNNING_MAX)
        self._waiting = 0

    async def verify(self, name: str, password: str) -> Account:
        account = await self._accounts.account_named(name)
        # Nobody's hash is tried for an unknown name, so that time does not tell names apart.
        known = account.password_hash if account else ""
        digest = self._digest(known, name, password)
        if account and known and digest in self._remembered:
            self._remembered.move_to_end(digest)
            return account
        is_right = await self._in_turn(self._is_right, known or self._nobodys_hash, password)
        if not (account and known and is_right):
            raise PasswordRefused
        self._remember(digest)
        return account

    async def hash(self, password: str) -> str:
        """Return the Argon2 hash to store for a new password; raise SlowDown as `verify` does."""
        return await self._in_turn(self._hasher.hash, password)

    def _digest(self, known: str, name: str, password: str) -> bytes:
        # Lengths first: without them two triples could join to the same bytes.
        parts = [part.encode("utf-8", "surrogatepass") for part in (known, name, password)]
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    async def _in_turn(self, work: Callable[..., Done], *texts: str) -> Done:
        if self._waiting >= WAITING_MAX:
            raise SlowDown("too many passwords are being tried")
        self._waiting += 1
        try:
            async with self._running:
                return await asyncio.to_thread(work, *texts)
        finally:
            self._waiting -= 1

    def _is_right(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    def _remember(self, digest: bytes) -> None:
        self._remembered[digest] = None
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
