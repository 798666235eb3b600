"""What the router, and who administers routes, see of the database: one statement a call."""

from typing import Protocol

from fileflux.metadata.route_rows import Route, RouteState


class RouteStore(Protocol):
    """The router's half."""

    async def take_lease(self, owner: bytes, duration_us: int) -> bool:
        """Tell whether the lease of the router is `owner`'s, now for so long."""

    async def give_lease_back(self, owner: bytes) -> None: ...

    async def routes(self) -> list[Route]: ...

    async def route(self, route_id: bytes) -> Route | None: ...

    async def move(self, route: Route, after: int) -> bool:
        """Everything before `after` was acknowledged; False: it stands elsewhere by now.

        Compared with where `route` stands, and its replay: whoever was overtaken moves nothing.
        """

    async def note_problem(self, route_id: bytes, problem: str, at_us: int) -> None:
        """Empty: it gets on."""


class RouteAdmin(Protocol):
    """The command line's half."""

    async def put_route(self, route: Route) -> bool:
        """False: another one has this name."""

    async def routes(self) -> list[Route]: ...

    async def route_named(self, name: str) -> Route | None: ...

    async def set_state(self, route_id: bytes, state: RouteState) -> bool: ...

    async def replay(self, route_id: bytes, position: int, replay_id: bytes) -> bool:
        """Send again from a position on; False: it was not sent yet, or the route is gone."""

    async def remove_route(self, route_id: bytes) -> bool: ...
