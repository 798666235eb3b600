"""The Faust application: heartbeats in, placement map out. Thin; decisions are elsewhere.

Faust gives one worker of the group the heartbeats' only partition: that one leads, the others stand
by and take over after a session time-out. What Faust gets wrong is kept out (reliability): one
record at a time per agent, since it commits past what is in flight; no exception leaves an agent,
since an exception is an acknowledgement; no tables; nothing is sent through Faust, its producer
does not even start. A lost heartbeat does not matter, the next one comes in a second.
"""

import logging
import ssl
from collections.abc import AsyncIterable, Sequence
from typing import Any, Final, cast

import faust
from faust.app.base import BootStrategy
from faust.types.tuples import TP

from fileflux.core.telemetry import get_logger
from fileflux.events.topics import NODES_HEARTBEATS
from fileflux.placement.leader import Leader
from fileflux.placement.settings import PlacementSettings

log = get_logger(__name__)

BATCH_MAX: Final = 1_000
BATCH_WITHIN_S: Final = 0.25
"""A timer fills these batches: nothing waits for them."""
MAX_POLL_INTERVAL_S: Final = 60.0
COMMIT_INTERVAL_S: Final = 1.0
HEARTBEAT_INTERVAL_S: Final = 1.0


class _ReadOnly(BootStrategy):
    """Our publisher is idempotent and has deadlines; Faust's is neither, so it never starts."""

    enable_kafka_producer = False
    enable_web = False


class _App(faust.App):
    BootStrategy = _ReadOnly
    logger = logging.getLogger("faust.app")  # Not ours: its level is set with Faust's other ones.


def make_app(settings: PlacementSettings, leader: Leader) -> "faust.App":
    """Return the application; `start()` it in the running event loop, `stop()` it at the end."""
    app = _App(settings.group, **_options(settings))
    topic = app.topic(
        NODES_HEARTBEATS,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    @app.agent(topic, name="read_heartbeats", concurrency=1)
    async def read_heartbeats(stream: Any) -> None:
        async for values in _batches(stream):
            try:
                leader.take(values)
            except Exception:
                log.exception("heartbeats were dropped")

    async def on_assigned(_app: Any, assigned: set[TP], **_: Any) -> None:
        leader.assigned(leads=TP(NODES_HEARTBEATS, 0) in assigned)

    async def on_revoked(_app: Any, _revoked: set[TP], **_: Any) -> None:
        leader.assigned(leads=False)

    # Not weak: nobody else refers to the receivers. Any: mode's type of a receiver fits none.
    for signal, receiver in (
        (app.on_partitions_assigned, on_assigned),
        (app.on_partitions_revoked, on_revoked),
    ):
        cast(Any, signal).connect(receiver, weak=False)
    app.finalize()
    return app


def _batches(stream: Any) -> AsyncIterable[Sequence[bytes]]:
    batches: AsyncIterable[Sequence[bytes]] = stream.take(BATCH_MAX, within=BATCH_WITHIN_S)
    return batches


def _options(settings: PlacementSettings) -> dict[str, Any]:
    servers = settings.kafka_bootstrap_servers.split(",")
    return {
        "broker": [f"kafka://{server.strip()}" for server in servers],
        "broker_credentials": _credentials(settings),
        "broker_session_timeout": settings.session_timeout_s,
        "broker_heartbeat_interval": HEARTBEAT_INTERVAL_S,
        "broker_max_poll_interval": MAX_POLL_INTERVAL_S,
        "broker_commit_interval": COMMIT_INTERVAL_S,
        "consumer_auto_offset_reset": "latest",
        "autodiscover": False,
        "datadir": str(settings.data_dir),
        "store": "memory://",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
    }


def _credentials(settings: PlacementSettings) -> Any:
    protocol = settings.kafka_security_protocol
    context = None
    if protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    if protocol == "SSL":
        return faust.SSLCredentials(context=context)
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return None
