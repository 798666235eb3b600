"""A raw S3 client that says exactly what came: an answer, a broken connection, or nothing in time.

An ordinary client would retry and hide what the checker has to know.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.signing import Account, signed_request

TIMEOUT_S: Final = 75.0
"""Longer than ingest waits for anything, so that silence is a finding."""
CONNECT_TIMEOUT_S: Final = 5.0


class NoAnswer(Exception):
    """The connection broke or nothing came in time: the request may have done its work."""


class NotSent(Exception):
    """Nobody listened: the request certainly did nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class S3Client:
    """One keep-alive connection; one request at a time; no retries."""

    def __init__(self, account: Account, *, timeout_s: float = TIMEOUT_S) -> None:
        """`account.host` is host:port, as it is signed and connected to."""
        self._account = account
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """`query` is encoded and sorted by the caller. Raise NoAnswer, NotSent."""
        head = signed_request(
            self._account, method, path, query=query, body=body, headers=tuple(headers)
        )
        reader, writer = await self._connected()
        try:
            async with asyncio.timeout(self._timeout_s):
                writer.write(head + body)
                await writer.drain()
                answer = await _read_answer(reader, has_body=method != "HEAD")
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            await self.close()
            raise NoAnswer(f"{method} {path}: {error!r}") from error
        if answer.headers.get("connection", "").lower() == "close":
            await self.close()
        return answer

    async def send_part_of(self, path: str, body: bytes, *, sent_bytes: int) -> None:
        """Begin a PUT of `body`, send so many bytes of it, and leave without a word."""
        head = signed_request(self._account, "PUT", path, body=body)
        _, writer = await self._connected()
        with contextlib.suppress(OSError):
            writer.write(head + body[:sent_bytes])
            await writer.drain()
        await self.close()

    async def close(self) -> None:
        if self._streams is None:
            return
        (_, writer), self._streams = self._streams, None
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and not self._streams[0].at_eof():
            return self._streams
        await self.close()
        host, _, port = self._account.host.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._streams = await asyncio.open_connection(host, int(port), limit=1 << 20)
        except (OSError, TimeoutError) as error:
            raise NotSent(str(error)) from error
        return self._streams


async def _read_answer(reader: asyncio.StreamReader, *, has_body: bool) -> Answer:
    while True:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        if status != 100:
            break
    fields = (line.partition(":") for line in lines[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    if not has_body or status in (204, 304):
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Answer(status, headers, await _read_chunks(reader))
    return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)
