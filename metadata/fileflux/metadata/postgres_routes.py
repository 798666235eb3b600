"""The ports `RouteStore` and `RouteAdmin` on a database that speaks PostgreSQL's protocol.

A statement whose answer got lost is run once more; each is written so that the second time changes
nothing, or is noticed and looked at.
"""

from typing import Final

import asyncpg

from fileflux.metadata.postgres_fetch import StatementReader
from fileflux.metadata.route_rows import Route, RouteState

LEASE: Final = "routes"


class PostgresRoutes(StatementReader):
    """Both halves."""

    async def take_lease(self, owner: bytes, duration_us: int) -> bool:
        return bool(await self._fetch("take_lease", LEASE, owner, duration_us))

    async def give_lease_back(self, owner: bytes) -> None:
        await self._fetch("give_lease_back", LEASE, owner)

    async def put_route(self, route: Route) -> bool:
        put = await self._fetch(
            "route_put",
            route.route_id,
            route.name,
            route.owner_id,
            route.bucket_id,
            route.bucket,
            route.prefix,
            route.suffix,
            " ".join(route.event_names),
            route.destination,
            route.format,
            route.next_position,
            route.created_us,
        )
        return bool(put) or await self.route(route.route_id) is not None

    async def routes(self) -> list[Route]:
        return [_route(one) for one in await self._fetch("route_all")]

    async def route(self, route_id: bytes) -> Route | None:
        found = await self._fetch("route_of_id", route_id)
        return _route(found[0]) if found else None

    async def route_named(self, name: str) -> Route | None:
        found = await self._fetch("route_named", name)
        return _route(found[0]) if found else None

    async def move(self, route: Route, after: int) -> bool:
        places = (route.route_id, route.next_position, route.replay_id, after)
        if await self._fetch("route_move", *places):
            return True
        now = await self.route(route.route_id)  # It may have been the answer that got lost.
        return now is not None and (now.next_position, now.replay_id) == (after, route.replay_id)

    async def note_problem(self, route_id: bytes, problem: str, at_us: int) -> None:
        await self._fetch("route_note", route_id, problem, at_us)

    async def set_state(self, route_id: bytes, state: RouteState) -> bool:
        return bool(await self._fetch("route_set_state", route_id, state))

    async def replay(self, route_id: bytes, position: int, replay_id: bytes) -> bool:
        return bool(await self._fetch("route_replay", route_id, position, replay_id))

    async def remove_route(self, route_id: bytes) -> bool:
        return bool(await self._fetch("route_remove", route_id))


def _route(found: asyncpg.Record) -> Route:
    return Route(**{**dict(found), "event_names": tuple(found["event_names"].split())})
