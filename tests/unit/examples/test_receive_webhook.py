"""The receivers of docs/how-to/receive-a-webhook.md take what FileFlux sends, and nothing else."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.model.webhook_rows import audit_record, subscription

from fileflux.core.clock import SystemClock
from fileflux.webhooks.egress import Egress, EgressPolicy, parse_networks
from fileflux.webhooks.occurrence import occurrence_of
from fileflux.webhooks.rendering import render
from fileflux.webhooks.sender import HttpSender
from fileflux.webhooks.signing import new_secret, signature_headers

EXAMPLES: Final = Path(__file__).parents[3] / "examples"
START_S: Final = 30.0
LOCAL: Final = EgressPolicy(allowed=parse_networks("127.0.0.1/32"))


@asynccontextmanager
async def receiver(name: str, secret: str) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / f"receive_webhook_{name}.py"), str(port)),
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await _listens(port)
        yield f"http://127.0.0.1:{port}/", process.stdout
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def delivery(secret: str, *, at_s: int | None = None) -> tuple[Mapping[str, str], bytes]:
    happened = occurrence_of(audit_record(size=1, etag="e"))
    assert happened is not None
    message = render(subscription(), happened)
    signed = signature_headers(
        [secret],
        message_id=happened.event_id,
        timestamp_s=int(time.time()) if at_s is None else at_s,
        body=message.body,
    )
    return {**message.headers, **signed}, message.body


async def _printed(lines: asyncio.StreamReader) -> str:
    """The first line about an event; servers may greet before it."""
    async with asyncio.timeout(START_S):
        while True:
            line = (await lines.readline()).decode().strip()
            if "Object" in line:
                return line


@pytest.mark.parametrize("name", ["stdlib", "starlette", "flask"])
async def test_a_receiver_takes_a_signed_delivery_once_and_refuses_the_others(name: str) -> None:
    secret = new_secret()
    sender = HttpSender(Egress(LOCAL), SystemClock())
    async with receiver(name, secret) as (url, lines):
        headers, body = delivery(secret)
        assert (await sender.send(url, headers, body)).status == 204
        assert (await sender.send(url, headers, body)).status == 204
        for wrong in (delivery(new_secret()), delivery(secret, at_s=1), (headers, body + b" ")):
            assert (await sender.send(url, *wrong)).status == 401
        assert await _printed(lines) == "ObjectCreated:Put a.jpg"
    rest = (await lines.read()).decode()
    assert "a.jpg" not in rest, "the second delivery of an id has no effect"
    await sender.close()
