"""How clients reach the brokers: addresses, TLS, SASL, and the clients' common settings."""

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Final

from fileflux.core.settings import CommonSettings

CLIENT_ID: Final = "fileflux"
REQUEST_TIMEOUT_MS: Final = 10_000
"""A broker that is up answers far sooner; our own deadlines are shorter still."""
STOP_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """`protocol`: SSL, SASL_PLAINTEXT or SASL_SSL. Empty `ca_file`: the system's authorities.

    `cert_file` and `key_file`: the client's own certificate, where the broker asks for one.
    """

    protocol: str
    mechanism: str = "SCRAM-SHA-256"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def security_of(settings: CommonSettings) -> KafkaSecurity | None:
    """Return what the environment says about security; None: a plain connection."""
    if settings.kafka_security_protocol == "PLAINTEXT":
        return None
    return KafkaSecurity(
        protocol=settings.kafka_security_protocol,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password.get_secret_value(),
        ca_file=settings.kafka_ca_file,
    )


def client_options(bootstrap_servers: str, security: KafkaSecurity | None) -> dict[str, Any]:
    """Return the keyword arguments that every aiokafka client takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap_servers,
        "client_id": CLIENT_ID,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }
    if security is None:
        return options
    options["security_protocol"] = security.protocol
    if security.protocol.startswith("SASL"):
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = security.password
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = _tls(security)
    return options


def _tls(security: KafkaSecurity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=security.ca_file or None)
    if security.cert_file:
        context.load_cert_chain(security.cert_file, security.key_file or None)
    return context


async def finish(stopping: Awaitable[object], *, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Await a client's stop in a task of its own; return whether it ended without an error.

    aiokafka's `stop` may hang without a broker, or raise the CancelledError of a task of its own,
    which in our task would look as if we had been cancelled.
    """
    task = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        if not task.done():
            task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None
