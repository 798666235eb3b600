"""What `fileflux route list` shows of rows that another version of FileFlux has written."""

from typing import Any, cast

from tests.model.route_rows import route

from fileflux.console.route_admin import Routes


class Store:
    async def routes(self) -> list[Any]:
        return [route(name="old", destination="kafka:fileflux_x"), route(name="well")]


async def test_a_destination_that_is_refused_by_now_does_not_hide_the_other_routes() -> None:
    shown = await Routes(cast("Any", Store()), cast("Any", None)).every()
    assert [one["route"] for one in shown] == ["old", "well"]
    assert [one["order"] for one in shown] == ["unknown: no route may lead there", "per key"]
