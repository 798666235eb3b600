"""The dispatcher of webhooks, and the router: `python -m fileflux.webhooks`.

Each has a lease of its own: a second process stands by, for both or for one.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import stamina

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import MetadataBusy
from fileflux.core.ops import OpsServer
from fileflux.core.service import announce, run_service
from fileflux.core.settings import load_settings
from fileflux.events.kafka import KafkaBroker, open_kafka
from fileflux.metadata.migrate import check_version
from fileflux.metadata.postgres import Connections, PostgresReader, open_connections
from fileflux.metadata.postgres_routes import PostgresRoutes
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.metadata.rebuild_target import refuse_unfinished
from fileflux.metadata.workers import Worker, live_check, ready_check, run_until
from fileflux.webhooks.dispatcher import Dispatcher, DispatcherDependencies
from fileflux.webhooks.egress import Egress
from fileflux.webhooks.routes.kafka_destination import KafkaRoutes
from fileflux.webhooks.routes.opening import Opener
from fileflux.webhooks.routes.router import Router, RouterDependencies
from fileflux.webhooks.sender import HttpSender
from fileflux.webhooks.settings import WebhooksSettings
from fileflux.webhooks.topics import Topics

START_TIMEOUT_S: Final = 120.0
START_RETRY_S_MAX: Final = 1.0


async def main(stopping: asyncio.Event) -> None:
    """Run until `stopping`. Without Kafka it works all the same: the database has every event."""
    settings = load_settings(WebhooksSettings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        connections = await _connect(settings)
        stack.push_async_callback(connections.close)
        broker = open_kafka(settings, clock)
        stack.push_async_callback(broker.close)
        sender = HttpSender(Egress(settings.egress_policy), clock)
        stack.push_async_callback(sender.close)
        dispatcher = Dispatcher(
            DispatcherDependencies(
                store=PostgresWebhooks(connections),
                reader=PostgresReader(connections),
                broker=broker,
                sender=sender,
                master_key=bytes.fromhex(settings.master_key.get_secret_value()),
                clock=clock,
                rng=random.SystemRandom(),
            )
        )
        router = _router(settings, connections, broker, clock)
        await _serve(settings, [dispatcher, router, Topics(broker, clock)], clock, stopping)


def _router(
    settings: WebhooksSettings, connections: Connections, broker: KafkaBroker, clock: Clock
) -> Router:
    kafka = KafkaRoutes(
        broker=broker,
        topics=broker.user_topics(),
        clock=clock,
        create_partitions=settings.routes_topic_partitions,
    )
    return Router(
        RouterDependencies(
            store=PostgresRoutes(connections),
            reader=PostgresReader(connections),
            broker=broker,
            open_destination=Opener(
                kafka=kafka,
                aws_endpoint=settings.routes_aws_endpoint,
                aws_region=settings.routes_aws_region,
            ),
            clock=clock,
            rng=random.SystemRandom(),
        )
    )


async def _connect(settings: WebhooksSettings) -> Connections:
    dsn = settings.database_url.get_secret_value()
    async for attempt in stamina.retry_context(
        on=MetadataBusy, attempts=None, timeout=START_TIMEOUT_S, wait_max=START_RETRY_S_MAX
    ):
        with attempt:
            connections = await open_connections(dsn, size_max=settings.connections)
    connection = await connections.take()
    await check_version(connection)
    await connections.give_back(connection)
    await refuse_unfinished(PostgresReader(connections))
    return connections


async def _serve(
    settings: WebhooksSettings, workers: Sequence[Worker], clock: Clock, stopping: asyncio.Event
) -> None:
    checks = {"live": live_check(workers, clock), "ready": ready_check(workers)}
    ops = OpsServer(settings.ops_host, settings.ops_port, checks)
    await ops.start()
    try:
        announce(settings.ready_file, {"ops": ops.port})
        await run_until(stopping, workers)
    finally:
        await ops.stop()


if __name__ == "__main__":
    run_service(main, name="webhooks")
