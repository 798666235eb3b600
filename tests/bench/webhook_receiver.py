"""Receivers of webhooks in a process of their own: well ones, one that is dead, one that is slow.

`python -m tests.bench.webhook_receiver FILE` prints its port and appends a line for each delivery
of a well receiver to FILE: when it arrived (seconds of the machine's monotonic clock) and its key.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final, TextIO

SLOW_S: Final = 5.0
_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


async def serve(out: TextIO) -> None:
    """Run until the process is ended."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path, body = await _read_request(reader)
                await _answer(path, body, out)
                writer.write(_ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # The sender has gone.

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _answer(path: str, body: bytes, out: TextIO) -> None:
    if path == "/dead":
        await asyncio.Event().wait()
    elif path == "/slow":
        await asyncio.sleep(SLOW_S)
    else:
        arrived_s = time.monotonic()
        key = json.loads(body)["Records"][0]["s3"]["object"]["key"]
        out.write(f"{arrived_s:.6f} {key}\n")
        out.flush()


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return head[0].split(" ")[1], await reader.readexactly(int(headers["content-length"]))


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a") as file:
        asyncio.run(serve(file))
