"""What operators do to users, keys, buckets and nodes: changes like any other, audited."""

import random
import secrets
from typing import Any, Final

from argon2 import PasswordHasher

from fileflux.console.wiring import Metadata
from fileflux.core.changes import (
    Actor,
    Change,
    ConfigureBucket,
    CreateKey,
    CreateUser,
    DeleteKey,
    DeleteUser,
    SetKeyActive,
    SetNodeIntent,
)
from fileflux.core.clock import SystemClock
from fileflux.core.ids import NodeId, UploadId, UserId, new_id
from fileflux.ingest.identities import new_key_pair
from fileflux.ingest.rest_api import PASSWORD_SIZE_MAX, PASSWORD_SIZE_MIN
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.rows import BucketRow, UserRow

OPERATOR: Final = Actor(UserId(b"fileflux-root-00"), "root", "", user_agent="fileflux admin")


class AdminRefused(Exception):
    """The change was refused; the message says why."""


class Admin:
    """Every method returns JSON-ready facts, or raises AdminRefused."""

    def __init__(self, metadata: Metadata, master_key: bytes) -> None:
        self._metadata = metadata
        self._master_key = master_key
        self._rng = random.SystemRandom()
        self._clock = SystemClock()

    async def create_user(self, name: str, given: str | None) -> dict[str, Any]:
        """`given`: the password; None makes a random one, which is shown."""
        password = secrets.token_urlsafe(18) if given is None else given
        if not PASSWORD_SIZE_MIN <= len(password) <= PASSWORD_SIZE_MAX:
            raise AdminRefused(
                f"a password has {PASSWORD_SIZE_MIN} to {PASSWORD_SIZE_MAX} characters"
            )
        user_id = UserId(new_id(self._rng))
        change = CreateUser(
            user_id=user_id,
            name=name,
            password_hash=PasswordHasher().hash(password),
            **self._who(),
        )
        key, shown_key = self._new_key(user_id)
        # Together: a user without a key would have to be deleted before it could be made again.
        await self._submit(change, key)
        shown = {"password": password} if given is None else {}
        return {"user": name, **shown, **shown_key}

    async def delete_user(self, name: str) -> dict[str, Any]:
        user = await self._user(name)
        await self._submit(DeleteUser(user_id=user.user_id, **self._who()))
        return {"deleted": name}

    async def create_key(self, name: str) -> dict[str, Any]:
        user = await self._user(name)
        key, shown = self._new_key(user.user_id)
        await self._submit(key)
        return {"user": name, **shown}

    async def list_keys(self, name: str) -> dict[str, Any]:
        user = await self._user(name)
        rows = await self._metadata.reader.list_keys(user.user_id)
        keys = [{"access_key": row.access_key, "active": row.active} for row in rows]
        return {"user": name, "keys": keys}

    async def set_key_active(self, access_key: str, *, active: bool) -> dict[str, Any]:
        await self._submit(SetKeyActive(access_key=access_key, active=active, **self._who()))
        return {"access_key": access_key, "active": active}

    async def delete_key(self, access_key: str) -> dict[str, Any]:
        await self._submit(DeleteKey(access_key=access_key, **self._who()))
        return {"deleted": access_key}

    async def show_bucket(self, name: str) -> dict[str, Any]:
        row = await self._bucket(name)
        usage = await self._metadata.reader.usage_of([row.bucket_id])
        objects, size = usage.get(row.bucket_id, (0, 0))
        return {
            "bucket": name,
            "owner_id": row.owner_id.hex(),
            "class": row.storage_class,
            "access_log": row.config.get("access_log") is True,
            "objects": objects,
            "bytes": size,
            "created_us": row.created_us,
        }

    async def set_bucket_class(self, name: str, storage_class: str) -> dict[str, Any]:
        row = await self._bucket(name)
        change = ConfigureBucket(
            bucket_id=row.bucket_id,
            bucket=name,
            entries={"class": storage_class},
            **self._who(),
        )
        await self._submit(change)
        return {"bucket": name, "class": storage_class}

    async def set_bucket_access_log(self, name: str, *, is_on: bool) -> dict[str, Any]:
        row = await self._bucket(name)
        entries = {"access_log": True if is_on else None}
        change = ConfigureBucket(
            bucket_id=row.bucket_id, bucket=name, entries=entries, **self._who()
        )
        await self._submit(change)
        return {"bucket": name, "access_log": is_on}

    async def list_nodes(self) -> dict[str, Any]:
        """What operators said of nodes; of the others nobody said anything, they are active."""
        intents = await self._metadata.reader.node_intents()
        nodes = [
            {"node": node_id, "intent": intent, "weight": weight}
            for node_id, (intent, weight) in sorted(intents.items())
        ]
        return {"nodes": nodes}

    async def set_node(self, node_id: str, intent: str, weight: float) -> dict[str, Any]:
        change = SetNodeIntent(node_id=NodeId(node_id), intent=intent, weight=weight, **self._who())
        await self._submit(change)
        return {"node": node_id, "intent": intent, "weight": weight}

    def _new_key(self, user_id: UserId) -> tuple[CreateKey, dict[str, str]]:
        """Return the change and what is shown of it, once."""
        access_key, secret_key = new_key_pair(self._rng)
        secret = encrypt_secret(self._master_key, access_key, secret_key)
        change = CreateKey(user_id=user_id, access_key=access_key, secret=secret, **self._who())
        return change, {"access_key": access_key, "secret_key": secret_key}

    async def _user(self, name: str) -> UserRow:
        row = await self._metadata.reader.find_user(name)
        if row is None:
            raise AdminRefused(f"there is no user {name}")
        return row

    async def _bucket(self, name: str) -> BucketRow:
        row = (await self._metadata.reader.find_buckets([name])).get(name)
        if row is None:
            raise AdminRefused(f"there is no bucket {name}")
        return row

    async def _submit(self, *changes: Change) -> None:
        for outcome in await self._metadata.direct.submit_together(*changes):
            if not outcome.ok:
                raise AdminRefused(f"{outcome.status} {outcome.detail}".strip())

    def _who(self) -> dict[str, Any]:
        upload_id = UploadId(new_id(self._rng))
        return {"upload_id": upload_id, "actor": OPERATOR, "at_us": self._clock.now_us()}
