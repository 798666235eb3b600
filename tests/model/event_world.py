"""The S3 application on a real port, with a sequencer, and clients of its event streams."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, BOB, ROOT, S3World, User, open_s3_world
from tests.model.schema_check import problems
from tests.security.signing import Wire

from fileflux.core.ops import EmbeddedServer, bound_socket
from fileflux.events.topics import AUDIT
from fileflux.ingest.http_server import http_config
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies

WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    id: str
    data: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.data["data"].get("key", ""))

    @property
    def operation(self) -> str:
        return str(self.data["data"]["operation"])


def declared(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event that is as the published schema says: of an operator, or of a tenant."""
    assert problems("audit-line" if "prevhash" in event else "tenant-event", event) == []
    return event


@dataclass
class EventClient:
    """Reads one answer as `curl -N` does: bytes as they come, over a socket that can be cut."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    last_id: str = ""
    _text: bytes = b""

    async def read_head(self) -> None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}

    async def body(self) -> bytes:
        """The whole of an answer that has a length."""
        return await self.reader.readexactly(int(self.headers["content-length"]))

    async def event(self) -> Event:
        """The next event; ids without data are remembered, as EventSource does."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = await self._block()
                if found is not None:
                    return found

    async def heartbeat(self) -> str:
        """Read a block without an event; return the id that it leaves."""
        async with asyncio.timeout(WAIT_S):
            assert await self._block() is None
        return self.last_id

    async def ended(self) -> bool:
        """Read until the server ends the answer, or hangs up; whether it was the former."""
        async with asyncio.timeout(WAIT_S):
            try:
                while True:
                    await self._block()
            except EOFError:
                return True
            except (asyncio.IncompleteReadError, ConnectionError):
                return False

    async def close(self) -> None:
        """Cut the line."""
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _block(self) -> Event | None:
        while b"\n\n" not in self._text:
            self._text += await self._chunk()
        block, _, self._text = self._text.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
        self.last_id = fields.get("id", self.last_id)
        if "data" not in fields:
            return None
        return Event(self.last_id, declared(json.loads(fields["data"])))

    async def _chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        if not size:
            raise EOFError
        return data[:-2]


class EventWorld:
    """A world whose changes are numbered and published, and a port."""

    def __init__(self, world: S3World, port: int) -> None:
        self.world = world
        self.port = port
        self.alice = Caller(world.app, ALICE)
        self.bob = Caller(world.app, BOB)
        self.root = Caller(world.app, ROOT)
        self._clients: list[EventClient] = []

    async def open(self, wire: Wire) -> EventClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)
        target = wire.path + (b"?" + wire.query if wire.query else b"")
        head = [wire.method.encode() + b" " + target + b" HTTP/1.1"]
        head += [name + b": " + value for name, value in wire.headers]
        writer.write(b"\r\n".join(head) + b"\r\n\r\n")
        client = EventClient(reader, writer)
        self._clients.append(client)
        await client.read_head()
        return client

    async def follow(self, user: User, query: str = "", last_id: str = "") -> EventClient:
        """Open `/events` by HTTP Basic."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        target = "/events" + (f"?{query}" if query else "")
        return await self.open(Caller(None, user).basic_wire("GET", target, headers))

    async def search(self, user: User, query: str = "") -> dict[str, Any]:
        answer = await Caller(self.world.app, user).basic("GET", f"/events/search?{query}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = json.loads(answer.body)
        for event in found["events"]:
            declared(event)
        return found

    async def numbered(self) -> int:
        """Wait until everything is numbered; return the next position."""
        await until(lambda: not self.world.database.tables.rows("audit_pending"))
        return (await self.world.reader.audit_head(STREAM)).next_position

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_event_world() -> AsyncIterator[EventWorld]:
    async with open_s3_world() as world, _sequencing(world):
        server = EmbeddedServer(http_config(world.app, timeout_graceful_shutdown=1))
        await server.start(bound_socket("127.0.0.1", 0))
        made = EventWorld(world, server.port)
        try:
            yield made
        finally:
            world.deps.events.close()
            await made.close()
            await server.stop()


@asynccontextmanager
async def _sequencing(world: S3World) -> AsyncIterator[None]:
    publisher = AuditPublisher(
        reader=world.reader,
        broker=world.broker,
        publisher=await world.broker.safe_publisher(),
        source=await world.broker.source([(AUDIT, 0)]),
        clock=world.clock,
        stream=STREAM,
    )
    sequencer = Sequencer(
        SequencerDependencies(
            database=world.database, reader=world.reader, publisher=publisher, clock=world.clock
        )
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(sequencer.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await running
