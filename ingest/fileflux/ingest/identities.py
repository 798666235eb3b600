"""Users and keys as authentication asks for them: read from the database, kept for two seconds.

A key that is switched off or removed stops working within that time.
"""

import base64
import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, TypeAlias, TypeVar

from fileflux.core.batching import Batcher
from fileflux.core.clock import Clock
from fileflux.core.errors import FormatInvalid
from fileflux.core.telemetry import get_logger
from fileflux.ingest.auth import Credential
from fileflux.ingest.basic import Account
from fileflux.metadata.identity import decrypt_secret
from fileflux.metadata.ports import MetadataReader

log = get_logger(__name__)

FRESH_S: Final = 2.0
ENTRIES_MAX: Final = 10_000
ACCESS_KEY_SIZE_MAX: Final = 128

Found = TypeVar("Found")
Loaded: TypeAlias = Credential | FormatInvalid | None
"""FormatInvalid: the key is there, its secret cannot be decrypted. Nobody else's business."""


class _Kept(Generic[Found]):
    """Answers by name, for a short while, the oldest forgotten first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, Found | None]] = OrderedDict()

    def get(self, name: str) -> tuple[Found | None] | None:
        """A one-tuple with the answer, None when there is no fresh one."""
        entry = self._entries.get(name)
        if entry is None or self._clock.monotonic_s() - entry[0] > FRESH_S:
            return None
        return (entry[1],)

    def put(self, name: str, found: Found | None) -> None:
        self._entries.pop(name, None)
        self._entries[name] = (self._clock.monotonic_s(), found)
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)


class DatabaseIdentities:
    """`CredentialStore` and `AccountStore` over the metadata reader."""

    def __init__(self, reader: MetadataReader, master_key: bytes, clock: Clock) -> None:
        self._reader = reader
        self._master_key = master_key
        self._keys: _Kept[Credential] = _Kept(clock)
        self._accounts: _Kept[Account] = _Kept(clock)
        self._loads: Batcher[str, Loaded] = Batcher(self._load_keys, depth=4)

    async def secret_for(self, access_key: str) -> Credential | None:
        if len(access_key) > ACCESS_KEY_SIZE_MAX or not access_key.isascii():
            return None
        kept = self._keys.get(access_key)
        if kept is not None:
            return kept[0]
        found = await self._loads.submit(access_key)
        if isinstance(found, FormatInvalid):
            raise found
        return found

    async def account_named(self, name: str) -> Account | None:
        kept = self._accounts.get(name)
        if kept is not None:
            return kept[0]
        row = await self._reader.find_user(name)
        found = (
            None if row is None else Account(row.user_id, row.name, row.password_hash, row.is_root)
        )
        self._accounts.put(name, found)
        return found

    async def _load_keys(self, access_keys: Sequence[str]) -> list[Loaded]:
        known: dict[str, Loaded] = {}
        for access_key in set(access_keys):
            known[access_key] = found = await self._load_key(access_key)
            if not isinstance(found, FormatInvalid):
                self._keys.put(access_key, found)
        return [known[access_key] for access_key in access_keys]

    async def _load_key(self, access_key: str) -> Loaded:
        found = await self._reader.find_key(access_key)
        if found is None:
            return None
        key, user = found
        try:
            secret = decrypt_secret(self._master_key, access_key, key.secret)
        except FormatInvalid as error:
            log.exception("an access key cannot be used", access_key=access_key)
            return error
        return Credential(user.user_id, user.name, secret, user.is_root, key.active)


def new_key_pair(rng: random.Random) -> tuple[str, str]:
    """A fresh access key (20 characters) and secret key (40 characters)."""
    access_key = "FF" + base64.b32encode(rng.randbytes(12)).decode().rstrip("=")[:18]
    return access_key, base64.b64encode(rng.randbytes(30)).decode()
