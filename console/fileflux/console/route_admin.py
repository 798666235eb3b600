"""What operators do to routes; every method returns JSON-ready facts or raises."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fileflux.console.admin import AdminRefused
from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ids import BucketId, UserId, new_id
from fileflux.metadata.audit_log import read_database
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.route_ports import RouteAdmin
from fileflux.metadata.route_rows import ANY_BUCKET, NO_REPLAY, Route, RouteState
from fileflux.metadata.sequencer import STREAM
from fileflux.webhooks.admin import shown_time
from fileflux.webhooks.filters import check_event_names
from fileflux.webhooks.positions import range_from
from fileflux.webhooks.routes.destination import (
    DestinationInvalid,
    KafkaTopic,
    check_format,
    default_format,
    parse_target,
)
from fileflux.webhooks.routes.messages import routed

ROUTES_MAX: Final = 200
"""Each is a task, and a connection or two."""
SAMPLES: Final = 5
KEPT_ORDER: Final = "per key"
LOST_ORDER: Final = "not kept: neither SQS nor SNS does, unless the name ends with .fifo"
NO_ORDER: Final = "unknown: no route may lead there"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose events: of a bucket, or of all buckets of a user. `event_names`: as S3 has them."""

    bucket: str = ""
    user: str = ""
    prefix: str = ""
    suffix: str = ""
    event_names: Sequence[str] = ()


class Routes:
    """Routes, where they lead and how far they are."""

    def __init__(
        self, store: RouteAdmin, reader: MetadataReader, clock: Clock | None = None
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock or SystemClock()
        self._rng = random.SystemRandom()

    async def create(
        self, name: str, destination: str, wanted: Wanted, *, form: str, start: str
    ) -> dict[str, Any]:
        """`form` empty: the destination's usual one. `start`: now, beginning, position or time."""
        if not _NAME.fullmatch(name):
            raise AdminRefused("a route's name has up to 63 of a-z 0-9 . _ -")
        target = parse_target(destination)
        form = form or default_format(target)
        check_format(target, form)
        check_event_names(wanted.event_names)
        owner_id, bucket_id = await self._whose(wanted)
        if len(await self._store.routes()) >= ROUTES_MAX:
            raise AdminRefused(f"there are {ROUTES_MAX} routes: remove one first")
        now_us = self._clock.now_us()
        route = Route(
            route_id=new_id(self._rng),
            name=name,
            owner_id=owner_id,
            bucket_id=bucket_id,
            bucket=wanted.bucket,
            prefix=wanted.prefix.encode(errors="surrogateescape"),
            suffix=wanted.suffix.encode(errors="surrogateescape"),
            event_names=tuple(wanted.event_names),
            destination=destination,
            format=form,
            state="active",
            next_position=(await range_from(self._reader, start))[0],
            replay_id=NO_REPLAY,
            replay_until=0,
            problem="",
            problem_us=0,
            created_us=now_us,
            changed_us=now_us,
        )
        if not await self._store.put_route(route):
            raise AdminRefused(f"there is a route {name} already")
        return _shown(route)

    async def every(self) -> list[dict[str, Any]]:
        return [_shown(one) for one in await self._store.routes()]

    async def show(self, name: str) -> dict[str, Any]:
        """Its filter, how far it is, and why it does not get on."""
        route = await self._find(name)
        end = (await self._reader.audit_head(STREAM)).next_position
        return {
            **_shown(route),
            "problem_since": shown_time(route.problem_us) if route.problem else "",
            "acknowledged_to": route.next_position - 1,
            "numbered_to": end - 1,
            "behind": max(0, end - route.next_position),
            "replays_until": max(0, route.replay_until - 1),
        }

    async def set_state(self, name: str, state: RouteState) -> dict[str, Any]:
        """Pause, or resume and try at once."""
        route = await self._find(name)
        await self._store.set_state(route.route_id, state)
        return {"route": name, "state": state}

    async def replay(self, name: str, start: str) -> dict[str, Any]:
        """Send again from a position, a time or the beginning on; new events come after that."""
        route = await self._find(name)
        first, _ = await range_from(self._reader, start)
        replay_id = new_id(self._rng)
        if not await self._store.replay(route.route_id, first, replay_id):
            raise AdminRefused(
                f"position {first} was not sent yet: the route is at {route.next_position}, and "
                "goes on from there by itself"
            )
        return {"route": name, "replay": replay_id.hex(), "from": first}

    async def would_send(self, name: str, start: str) -> dict[str, Any]:
        """What a replay would send: counts by event, and a few bodies. Nothing is sent."""
        route = await self._find(name)
        first, end = await range_from(self._reader, start)
        counts: dict[str, int] = {}
        samples: list[str] = []
        async for record in read_database(self._reader, first_position=first):
            if record.position >= end:
                break
            message = routed(route, record)
            if message is None:
                continue
            counts[message.event_name] = counts.get(message.event_name, 0) + 1
            if len(samples) < SAMPLES:
                samples.append(message.body.decode())
        return {
            "route": name,
            "from": first,
            "to": end - 1,
            "would_send": sum(counts.values()),
            "by_event": counts,
            "samples": samples,
        }

    async def remove(self, name: str) -> dict[str, Any]:
        route = await self._find(name)
        await self._store.remove_route(route.route_id)
        return {"route": name, "state": "deleted"}

    async def _whose(self, wanted: Wanted) -> tuple[UserId, BucketId]:
        if bool(wanted.bucket) == bool(wanted.user):
            raise AdminRefused("name the bucket, or with --user whose buckets: one of the two")
        if wanted.user:
            user = await self._reader.find_user(wanted.user)
            if user is None:
                raise AdminRefused(f"there is no user {wanted.user}")
            return user.user_id, ANY_BUCKET
        found = (await self._reader.find_buckets([wanted.bucket])).get(wanted.bucket)
        if found is None:
            raise AdminRefused(f"there is no bucket {wanted.bucket}")
        return found.owner_id, found.bucket_id

    async def _find(self, name: str) -> Route:
        route = await self._store.route_named(name)
        if route is None:
            raise AdminRefused(f"there is no route {name}")
        return route


def _order(destination: str) -> str:
    try:
        target = parse_target(destination)
    except DestinationInvalid:  # Another version of FileFlux allowed it.
        return NO_ORDER
    keeps_order = isinstance(target, KafkaTopic) or target.is_fifo
    return KEPT_ORDER if keeps_order else LOST_ORDER


def _shown(route: Route) -> dict[str, Any]:
    return {
        "route": route.name,
        "bucket": route.bucket or "all of the owner",
        "owner": route.owner_id.hex(),
        "prefix": route.prefix.decode(errors="backslashreplace"),
        "suffix": route.suffix.decode(errors="backslashreplace"),
        "events": list(route.event_names),
        "destination": route.destination,
        "format": route.format,
        "order": _order(route.destination),
        "state": route.state,
        "problem": route.problem,
        "created": shown_time(route.created_us),
    }
