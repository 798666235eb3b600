"""The clients that the how-to shows, run as they are, on lines that are cut."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.model.event_world import EventWorld, open_event_world
from tests.model.s3_world import ALICE

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/consume-events.md"
WAIT_S = 60.0
KEYS = tuple(f"k{number}" for number in range(12))
QUERY = "from=start&operation=PutObject"


@pytest.fixture
async def events() -> AsyncIterator[EventWorld]:
    async with open_event_world() as made:
        assert (await made.alice("PUT", "/photos")).status == 200
        yield made


class CuttingProxy:
    """Passes bytes on, and cuts each line after so many bytes of its answer; later ones later."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._port = port
        self._allowed = 900

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
        asking = asyncio.create_task(_copy(reader, outer))
        left, self._allowed = self._allowed, self._allowed + 700
        while piece := await inner.read(100):
            writer.write(piece)
            left -= len(piece)
            if left < 0:
                self.cuts += 1
                break
        asking.cancel()
        outer.transport.abort()
        writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(4_096):
        writer.write(piece)


@asynccontextmanager
async def cutting(port: int) -> AsyncIterator[tuple[int, CuttingProxy]]:
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], proxy
    server.close()


@asynccontextmanager
async def running(port: int, *command: str) -> AsyncIterator[asyncio.StreamReader]:
    """A client's standard output."""
    env = {
        **os.environ,
        "EVENTS_URL": f"http://127.0.0.1:{port}",
        "EVENTS_USER": ALICE.name,
        "EVENTS_PASSWORD": ALICE.password,
    }
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def write(events: EventWorld) -> None:
    for key in KEYS:
        assert (await events.alice("PUT", f"/photos/{key}", {}, b"x")).status == 200


@pytest.mark.parametrize(
    "command",
    [
        pytest.param((sys.executable, "examples/follow_events.py"), id="python"),
        pytest.param(("node", "examples/follow_events.mjs"), id="node"),
    ],
)
async def test_an_example_sees_each_event_once_on_a_line_that_is_cut(
    command: tuple[str, str], events: EventWorld
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    async with cutting(events.port) as (port, proxy):
        async with running(port, command[0], str(ROOT / command[1]), QUERY) as said:
            await write(events)
            async with asyncio.timeout(WAIT_S):
                lines = [(await said.readline()).decode() for _ in KEYS]
        assert proxy.cuts > 0, "otherwise this proves nothing"

    assert [line.split()[2] for line in lines] == [f"photos/{key}" for key in KEYS]
    assert {line.split()[1] for line in lines} == {"PutObject"}


async def test_curl_that_is_killed_goes_on_with_the_last_id(events: EventWorld) -> None:
    """The page's own lines, with the test's names in them."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    await write(events)
    first, again = _curl_lines()
    async with running(events.port, *_shell(first, events.port, "")) as said:
        seen = await _keys(said, 5)
    last_id = seen[-1][0]
    async with running(events.port, *_shell(again, events.port, last_id)) as said:
        seen += await _keys(said, len(KEYS) - 5)

    assert [key for _, key in seen] == list(KEYS)


def _curl_lines() -> list[str]:
    found = re.findall(r"^(curl -N .*)$", PAGE.read_text(), re.MULTILINE)
    assert len(found) == 2
    return found


def _shell(line: str, port: int, last_id: str) -> list[str]:
    line = line.replace("-ID: ID'", f"-ID: {last_id}'").replace(":9000", f":{port}")
    line = line.replace("alice:correct-horse", f"'{ALICE.name}:{ALICE.password}'")
    return ["sh", "-c", f"exec {line.replace('-u ', '-s -S -u ')}"]


async def _keys(said: asyncio.StreamReader, count: int) -> list[tuple[str, str]]:
    """(id, key) of the next objects made."""
    seen: list[tuple[str, str]] = []
    last_id = ""
    async with asyncio.timeout(WAIT_S):
        while len(seen) < count:
            line = (await said.readline()).decode()
            assert line, "it ended"
            last_id = line[4:].strip() if line.startswith("id: ") else last_id
            key = re.search(r'"operation":"PutObject".*"key":"(\w+)"', line)
            if key is not None:
                seen.append((last_id, key.group(1)))
    return seen
