"""What became of one event, asked of a real database beside a running dispatcher."""

from tests.model.webhook_rows import BUCKET_ID
from tests.model.webhook_world import WebhookWorld, until

from fileflux.metadata.deliveries_of_event import DeliveriesOfEvent, EventDeliveries
from fileflux.metadata.postgres import Connections

WELL, BROKEN = "https://well.example/", "https://broken.example/"


async def test_an_events_deliveries_are_found_and_no_others(
    world: WebhookWorld, connections: Connections
) -> None:
    well, broken = await world.subscribe(WELL), await world.subscribe(BROKEN)

    async def answer(url: str, key: str) -> int:
        return 204 if url == WELL else 500

    world.receivers.answer = answer
    asked = EventDeliveries(connections)
    async with world.dispatching():
        first, second = await world.happen("a", "b")

        async def of(position: int) -> DeliveriesOfEvent:
            return await asked.of_event(
                BUCKET_ID, position=position, event_id=f"{position:032x}", since_us=0
            )

        async def both_tried() -> bool:
            found = await of(second.position)
            return len(found.attempts) == 2 and bool(found.waiting)

        await until(both_tried)
        found = await of(second.position)
    statuses = {name: {row.status for row in rows} for name, rows in found.attempts.items()}
    assert statuses == {well.subscription_id: {204}, broken.subscription_id: {500}}
    assert set(found.waiting) == {broken.subscription_id}
    assert found.given_up == {}
    assert (await of(second.position + 1)) == DeliveriesOfEvent()
    assert first.position < second.position
