"""Receivers that buckets' notification configurations name by ARN: made, listed, rotated, removed.

A destination is a URL and a secret under a name of its owner's. What leads there are the parts of
configurations; each has a queue of its own.
"""

import random
import re
from collections.abc import Sequence
from typing import Any, Final

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ids import UserId, new_id
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.rows import BucketRow
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.webhook_ports import WebhookAdmin
from fileflux.metadata.webhook_rows import Destination
from fileflux.webhooks.admin import NoSuchWebhook, NotNow, Refused, shown_time
from fileflux.webhooks.egress import parse_url
from fileflux.webhooks.signing import ROTATION_S, new_secret

DESTINATIONS_MAX: Final = 100
"""Of an owner."""
NAMED_BUCKETS_MAX: Final = 5
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Destinations:
    """Of one owner at a time."""

    def __init__(
        self,
        store: WebhookAdmin,
        reader: MetadataReader,
        master_key: bytes,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._reader = reader
        self._master_key = master_key
        self._clock = clock or SystemClock()
        self._rng = random.SystemRandom()

    async def create(self, owner_id: UserId, name: str, url: str) -> dict[str, Any]:
        """Make one; the secret is shown once. Configurations that name it already begin now."""
        parse_url(url)
        if not _NAME.fullmatch(name):
            raise Refused("a name has 1 to 64 letters, digits, dots, dashes or underscores")
        every = await self._store.destinations_of([owner_id])
        if name in [one.name for one in every]:
            raise NotNow(f"there is a destination {name} already")
        if len(every) >= DESTINATIONS_MAX:
            raise NotNow(f"an owner has at most {DESTINATIONS_MAX} destinations")
        destination_id, secret = new_id(self._rng), new_secret()
        one = Destination(
            destination_id=destination_id,
            owner_id=owner_id,
            name=name,
            url=url,
            secret=encrypt_secret(self._master_key, destination_id.hex(), secret),
            created_us=self._clock.now_us(),
        )
        await self._announce(await self._buckets_of(one))
        if not await self._store.put_destination(one):
            raise NotNow(f"there is a destination {name} already")
        return {**_shown(one), "secret": secret}

    async def every(self, owner_id: UserId) -> list[dict[str, Any]]:
        """By name, never their secrets."""
        return [_shown(one) for one in await self._store.destinations_of([owner_id])]

    async def show(self, owner_id: UserId, name: str) -> dict[str, Any]:
        """One, with the buckets that name it."""
        one = await self._find(owner_id, name)
        return {**_shown(one), "buckets": [row.name for row in await self._buckets_of(one)]}

    async def rotate_secret(self, owner_id: UserId, name: str) -> dict[str, Any]:
        """Both sign for a day; the new one is shown once."""
        one = await self._find(owner_id, name)
        secret = new_secret()
        until_us = self._clock.now_us() + ROTATION_S * 1_000_000
        stored = encrypt_secret(self._master_key, one.destination_id.hex(), secret)
        if not await self._store.rotate_destination(one, stored, until_us):
            raise NoSuchWebhook(f"there is no destination {name}")
        return {"destination": name, "secret": secret, "old_secret_until": shown_time(until_us)}

    async def remove(self, owner_id: UserId, name: str) -> dict[str, Any]:
        """Remove one that no bucket names."""
        one = await self._find(owner_id, name)
        buckets = await self._buckets_of(one)
        if buckets:
            names = ", ".join(row.name for row in buckets[:NAMED_BUCKETS_MAX])
            raise NotNow(
                f"{len(buckets)} of the owner's buckets name it in their notification "
                f"configuration, such as {names}: change these first"
            )
        await self._store.remove_destination(one)
        return {"destination": name, "state": "deleted"}

    async def _find(self, owner_id: UserId, name: str) -> Destination:
        for one in await self._store.destinations_of([owner_id]):
            if one.name == name:
                return one
        raise NoSuchWebhook(f"there is no destination {name}")

    async def _buckets_of(self, one: Destination) -> list[BucketRow]:
        return await self._reader.buckets_notifying(one.owner_id, one.name)

    async def _announce(self, buckets: Sequence[BucketRow]) -> None:
        """Let the dispatcher look, for a while, at buckets that name it before it is there."""
        if not buckets:
            return
        position = (await self._reader.audit_head(STREAM)).next_position
        for row in buckets:
            await self._store.mark_bucket(row.bucket_id, new_id(self._rng), position)


def _shown(one: Destination) -> dict[str, Any]:
    return {
        "destination": one.name,
        "arn": f"arn:fileflux:webhook:::{one.name}",
        "owner": one.owner_id.hex(),
        "url": one.url,
        "created": shown_time(one.created_us),
    }
