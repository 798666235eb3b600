"""A router on a real database, with a topic in memory and destinations that obey."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.model.route_rows import route
from tests.model.webhook_world import WAIT_S, WebhookWorld, until

from fileflux.metadata.postgres import Connections
from fileflux.metadata.postgres_routes import PostgresRoutes
from fileflux.metadata.route_rows import Route
from fileflux.webhooks.routes.destination import RoutedMessage, parse_target
from fileflux.webhooks.routes.memory_destination import MemoryDestination, MemoryDestinations
from fileflux.webhooks.routes.router import Router, RouterDependencies


class RouteWorld:
    """`events`: what happens (`WebhookWorld.happen`). `destinations`: whom it is told."""

    def __init__(self, connections: Connections, *, scale: float = 1.0) -> None:
        self.events = WebhookWorld(connections, scale=scale)
        self.store = PostgresRoutes(connections)
        self.destinations = MemoryDestinations()
        self._connections = connections

    async def reset(self) -> None:
        await self.events.reset()
        connection = await self._connections.take()
        await connection.execute("DELETE FROM routes")
        await self._connections.give_back(connection)

    async def add(self, topic: str, **changed: Any) -> Route:
        one = route(destination=f"kafka:{topic}", name=topic, **changed)
        assert await self.store.put_route(one)
        return one

    def at(self, topic: str) -> MemoryDestination:
        return self.destinations.at(parse_target(f"kafka:{topic}"))

    def keys(self, topic: str) -> list[str]:
        return [one.key.decode().removeprefix("photos/") for one in self.at(topic).taken]

    def router(self) -> Router:
        return Router(
            RouterDependencies(
                store=self.store,
                reader=self.events.reader,
                broker=self.events.broker,
                open_destination=self.destinations,
                clock=self.events.clock,
                rng=random.SystemRandom(),  # Owners of the lease must differ.
            )
        )

    @asynccontextmanager
    async def routing(self) -> AsyncIterator[Router]:
        """Run a router until the block ends; what it raises comes out."""
        stopping = asyncio.Event()
        router = self.router()
        task = asyncio.create_task(router.run(stopping))
        try:
            yield router
        finally:
            stopping.set()
            async with asyncio.timeout(WAIT_S):
                await task

    async def until_taken(self, topic: str, count: int) -> None:
        await until(lambda: len(self.at(topic).taken) >= count)

    async def until_stored(self, one: Route, position: int) -> None:
        async def is_stored() -> bool:
            found = await self.store.route(one.route_id)
            return found is not None and found.next_position >= position

        await until(is_stored)


def refuse_key(key: str) -> Any:
    """Return a judge that refuses what is told of one key."""

    def judge(one: RoutedMessage) -> str:
        return "not this one" if one.key.decode() == f"photos/{key}" else ""

    return judge
