"""The node's HTTP API and its client: what is asked for, verified, or an error that says which."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
import uvicorn

from fileflux.core.bundle_format import encode_small
from fileflux.core.bundle_records import ChunkEntry
from fileflux.core.bundle_view import BundleReceiver
from fileflux.core.clock import ManualClock, SystemClock
from fileflux.core.errors import ChunkCorrupt, NodeUnreachable, NoSuchBundle
from fileflux.core.http_client import HttpPool, parse_origin
from fileflux.core.ids import BundleId, SealId
from fileflux.core.internal_auth import HEADER, sign
from fileflux.core.model import BLOCK_SIZE_BYTES
from fileflux.core.node_api import DROP_PATH
from fileflux.core.node_client import NodeClient
from fileflux.core.node_messages import DropItem, InventoryItem
from fileflux.core.ops import EmbeddedServer
from fileflux.storage_node.app import NodeApp
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.samples import received, sample_bundle

SECRET = b"a secret of the cluster"
CLOCK = SystemClock()
NOW = CLOCK.now_us()
LARGE_BYTES = 3 * 1024 * 1024 + 12_345
SMALL = sample_bundle(1, lengths=(300, BLOCK_SIZE_BYTES, 200_001))
LARGE = sample_bundle(2, lengths=(LARGE_BYTES,))
UNKNOWN = BundleId(b"unknown bundle!!")


class Running:
    """A node API that listens, over a store in memory."""

    def __init__(self, server: EmbeddedServer, store: MemoryStore, fence: Fence) -> None:
        self.url = f"http://127.0.0.1:{server.port}"
        self.store = store
        self.fence = fence
        self.client = NodeClient(SECRET, CLOCK)


async def serve(app: Any) -> EmbeddedServer:
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, access_log=False, log_config=None, lifespan="off"
    )
    server = EmbeddedServer(config)
    await server.start()
    return server


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def scope_of(method: str, target: str, signature: str) -> dict[str, Any]:
    """Return what a server hands to the application."""
    return {
        "type": "http",
        "method": method,
        "path": target,
        "raw_path": target.encode(),
        "query_string": b"",
        "headers": [(HEADER.lower().encode(), signature.encode())],
    }


async def receive_nothing() -> dict[str, Any]:
    raise AssertionError("nothing is received")


async def nothing_to_settle() -> None:
    """Nothing on a disk says that the fence is there."""


@pytest.fixture
async def node() -> AsyncIterator[Running]:
    store, fence = MemoryStore(), Fence()
    await store.write([SMALL, LARGE])
    server = await serve(NodeApp(store, secret=SECRET, clock=CLOCK, epoch=5, fence=fence))
    running = Running(server, store, fence)
    yield running
    await running.client.close()
    await server.stop()


def chunk_bytes(number: int) -> bytes:
    place = SMALL.view.chunk(number)
    return bytes(SMALL.data[place.offset : place.offset + place.length])


def large_bytes() -> bytes:
    place = LARGE.view.chunk(0)
    return bytes(LARGE.data[place.offset : place.offset + place.length])


async def read_large(client: NodeClient, url: str, start: int, length: int) -> bytes:
    pieces = client.read_chunk(url, LARGE.bundle_id, 0, start, length)
    return b"".join([bytes(piece) async for piece in pieces])


async def test_any_slice_of_a_small_chunk_is_read(node: Running) -> None:
    rng = random.Random(6)
    for _ in range(60):
        number = rng.randrange(3)
        data = chunk_bytes(number)
        start = rng.randrange(len(data))
        length = rng.randrange(1, len(data) - start + 1)
        got = await node.client.read_small(node.url, SMALL.bundle_id, number, start, length)
        assert got == data[start : start + length]


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, LARGE_BYTES),
        (0, 1),
        (LARGE_BYTES - 1, 1),
        (BLOCK_SIZE_BYTES - 1, 2),
        (BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES),
        (5 * BLOCK_SIZE_BYTES + 7, 17 * BLOCK_SIZE_BYTES),
        (100_000, LARGE_BYTES - 100_000),
    ],
)
async def test_any_slice_of_a_large_chunk_streams(node: Running, start: int, length: int) -> None:
    got = await read_large(node.client, node.url, start, length)
    assert got == large_bytes()[start : start + length]


async def test_a_reader_that_stops_early_does_not_disturb_the_next_one(node: Running) -> None:
    async with aclosing(node.client.read_chunk(node.url, LARGE.bundle_id, 0, 0, 10**6)) as pieces:  # type: ignore[type-var]
        async for _ in pieces:
            break

    assert await node.client.read_small(node.url, SMALL.bundle_id, 0, 0, 300) == chunk_bytes(0)


@pytest.mark.parametrize("at_block", [0, 20, 48])
async def test_a_bit_flipped_on_the_disk_is_found_by_the_reader(
    node: Running, at_block: int
) -> None:
    """Pieces before it were right and may have been used; the damaged one never arrives."""
    place = LARGE.view.chunk(0)
    node.store.damage(LARGE.bundle_id, place.offset + at_block * BLOCK_SIZE_BYTES + 5)
    got = bytearray()

    async def read() -> None:
        async for piece in node.client.read_chunk(node.url, LARGE.bundle_id, 0, 0, LARGE_BYTES):
            got.extend(piece)

    with pytest.raises(ChunkCorrupt):
        await read()

    assert large_bytes().startswith(got)
    assert len(got) <= at_block * BLOCK_SIZE_BYTES
    assert await node.client.read_small(node.url, SMALL.bundle_id, 0, 0, 9) == chunk_bytes(0)[:9]


async def test_a_bit_flipped_in_a_small_chunk_is_found_by_the_reader(node: Running) -> None:
    node.store.damage(SMALL.bundle_id, SMALL.view.chunk(1).offset + 77)
    with pytest.raises(ChunkCorrupt):
        await node.client.read_small(node.url, SMALL.bundle_id, 1, 0, 10)


async def test_what_is_not_there_is_said(node: Running) -> None:
    client, url = node.client, node.url
    with pytest.raises(NoSuchBundle):
        await client.read_small(url, UNKNOWN, 0, 0, 1)
    with pytest.raises(NoSuchBundle):
        await client.read_small(url, SMALL.bundle_id, 3, 0, 1)
    with pytest.raises(NoSuchBundle):
        await client.head(url, UNKNOWN)
    with pytest.raises(NoSuchBundle):
        await anext(client.read_chunk(url, UNKNOWN, 0, 0, 1))
    with pytest.raises(ChunkCorrupt, match="shorter than its manifest"):
        await client.read_small(url, SMALL.bundle_id, 0, 299, 2)


async def test_a_whole_bundle_is_pulled_as_it_is(node: Running) -> None:
    for bundle in (SMALL, LARGE):
        size, crc = bundle.view.header.sealed
        receiver = BundleReceiver(bundle.bundle_id, size, crc)
        await node.client.pull(f"{node.url}/v1/bundles/{bundle.bundle_id.hex()}", receiver)
        assert receiver.finish()[0] == bundle.data
        assert await node.client.head(node.url, bundle.bundle_id) == (size, crc)
    with pytest.raises(NoSuchBundle):
        await node.client.pull(f"{node.url}/v1/bundles/{UNKNOWN.hex()}", receiver)


async def test_the_inventory_comes_in_pages_and_lifts_the_epochs_fence_at_its_end(
    node: Running,
) -> None:
    node.fence.wait_for_inventory("a test says so", settle=nothing_to_settle)
    first = await node.client.inventory(node.url, None, 1)
    assert node.fence.reason is not None
    second = await node.client.inventory(node.url, first[0].bundle_id, 1)
    assert node.fence.reason is not None
    assert await node.client.inventory(node.url, second[0].bundle_id, 1) == []
    await until(lambda: node.fence.reason is None)

    held = {InventoryItem(b.bundle_id, *b.view.header.sealed) for b in (SMALL, LARGE)}
    assert {*first, *second} == held


async def test_a_page_that_is_asked_for_again_does_not_keep_the_fence(node: Running) -> None:
    node.fence.wait_for_inventory("a test says so", settle=nothing_to_settle)
    first = await node.client.inventory(node.url, None, 1)
    await node.client.inventory(node.url, first[0].bundle_id, 1)
    await node.client.inventory(node.url, first[0].bundle_id, 2)

    await until(lambda: node.fence.reason is None)


async def test_an_inventory_with_a_gap_lifts_no_fence(node: Running) -> None:
    """Somebody began at the start, and somebody asked for the end: nobody knows the rest."""
    node.fence.wait_for_inventory("a test says so", settle=nothing_to_settle)
    (first,) = await node.client.inventory(node.url, None, 1)
    beyond = BundleId((int.from_bytes(first.bundle_id, "big") + 1).to_bytes(16, "big"))
    await node.client.inventory(node.url, beyond, 10)
    await node.client.inventory(node.url, BundleId(b"\xff" * 16), 10)

    assert node.fence.reason is not None


async def test_an_inventory_that_could_not_be_sent_lifts_no_fence() -> None:
    fence = Fence()
    fence.wait_for_inventory("a test says so", settle=nothing_to_settle)
    app = NodeApp(MemoryStore(), secret=SECRET, clock=CLOCK, epoch=5, fence=fence)
    target = "/v1/inventory"
    signature = sign(SECRET, method="GET", target=target, now_us=CLOCK.now_us())

    async def send(_message: Any) -> None:
        raise TimeoutError

    await app(scope_of("GET", target, signature), receive_nothing, send)

    assert fence.reason is not None


async def test_a_fence_whose_end_cannot_be_written_down_stays(node: Running) -> None:
    async def fail() -> None:
        raise OSError("a test says so")

    node.fence.wait_for_inventory("a test says so", settle=fail)
    await node.client.inventory(node.url, None, 10)

    assert node.fence.reason is not None


async def test_the_end_of_an_inventory_alone_lifts_no_fence(node: Running) -> None:
    node.fence.wait_for_inventory("a test says so", settle=nothing_to_settle)
    await node.client.inventory(node.url, BundleId(b"\xff" * 16), 10)

    assert node.fence.reason is not None


async def test_records_tell_of_every_bundle_in_pages_and_send_no_data(node: Running) -> None:
    (first,) = await node.client.records(node.url, None, 1)
    (second,) = await node.client.records(node.url, first.bundle_id, 10)
    assert await node.client.records(node.url, second.bundle_id, 10) == []

    found = {held.bundle_id: held.index for held in (first, second)}
    for bundle in (SMALL, LARGE):
        index = found[bundle.bundle_id]
        assert index is not None
        assert index.header == bundle.view.header
        assert [index.meta(place) for place in index.chunks()] == [
            bundle.view.meta(place) for place in bundle.view.chunks()
        ]


async def test_a_record_that_is_damaged_is_told_beside_the_others(node: Running) -> None:
    node.store.damage(SMALL.bundle_id, len(SMALL.data) - 3)
    node.store.damage(LARGE.bundle_id, LARGE.view.chunk(0).offset)  # Data: of no concern here.
    problems = {
        held.bundle_id: held.problem for held in await node.client.records(node.url, None, 10)
    }

    assert "fails its CRC" in problems[SMALL.bundle_id]
    assert problems[LARGE.bundle_id] == ""


async def test_a_page_of_records_ends_before_it_grows(node: Running) -> None:
    names = [b"%016d" % n for n in range(40)]
    meta = replace(SMALL.view.meta(SMALL.view.chunk(0)), key=b"k" * 1_000)
    for name in names:
        entries = [ChunkEntry(meta, b"x")] * 100
        made = encode_small(BundleId(name), SealId(bytes(16)), 1, entries)
        await node.store.write([received(BundleId(name), b"".join(made.parts), made.crc)])
    after, pages = None, []
    while page := await node.client.records(node.url, after, 1_000):
        pages.append(len(page))
        after = page[-1].bundle_id

    assert sum(pages) == 42
    assert len(pages) > 1


async def test_records_lift_no_fence(node: Running) -> None:
    """They are read by a salvage; what is missing is known by an inventory alone."""
    node.fence.wait_for_inventory("a test says so", settle=nothing_to_settle)
    await node.client.records(node.url, None, 10)

    assert node.fence.reason is not None


async def test_dropped_chunks_leave_and_dropping_twice_is_the_same_as_once(node: Running) -> None:
    for _ in range(2):
        await node.client.drop(node.url, [DropItem(LARGE.bundle_id, (0,))])
    with pytest.raises(NoSuchBundle):
        await read_large(node.client, node.url, 0, 10)

    assert await node.client.read_small(node.url, SMALL.bundle_id, 0, 0, 300) == chunk_bytes(0)


async def test_a_fenced_node_still_reads(node: Running) -> None:
    node.fence.fail_disk("a test says so")

    assert await node.client.read_small(node.url, SMALL.bundle_id, 0, 0, 300) == chunk_bytes(0)


async def test_another_secret_or_another_time_opens_nothing(node: Running) -> None:
    late = ManualClock(CLOCK.now_us() - 400 * 1_000_000)
    for client in (NodeClient(b"another secret!!", CLOCK), NodeClient(SECRET, late)):
        attempts: list[Coroutine[Any, Any, object]] = [
            client.read_small(node.url, SMALL.bundle_id, 0, 0, 1),
            client.inventory(node.url, None, 1),
            client.records(node.url, None, 1),
            client.drop(node.url, [DropItem(SMALL.bundle_id, (0, 1, 2))]),
            client.head(node.url, SMALL.bundle_id),
        ]
        for attempt in attempts:
            with pytest.raises(NodeUnreachable, match="403"):
                await attempt
        await client.close()

    assert len(await node.client.inventory(node.url, None, 10)) == 2


async def raw_status(
    node: Running,
    method: str,
    target: str,
    *,
    signed_target: str | None = None,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
) -> int:
    signature = sign(
        SECRET,
        method=method,
        target=signed_target or target,
        now_us=CLOCK.now_us(),
        body=body,
    )
    pool = HttpPool()
    try:
        async with await pool.exchange(
            parse_origin(node.url),
            method,
            target,
            headers=[(HEADER, signature), *headers],
            body=body,
            timeout_s=5,
        ) as answer:
            return answer.head.status
    finally:
        await pool.close()


async def test_a_signature_is_for_one_request_only(node: Running) -> None:
    path = f"/v1/bundles/{SMALL.bundle_id.hex()}"
    other = f"/v1/bundles/{LARGE.bundle_id.hex()}"

    assert await raw_status(node, "GET", path) == 200
    assert await raw_status(node, "GET", other, signed_target=path) == 403
    assert await raw_status(node, "GET", f"{path}?a=1", signed_target=path) == 403


NONSENSE = [
    ("GET", "/", 404),
    ("GET", "/v1/bundles/", 400),
    ("GET", "/v1/bundles/xyz", 400),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/x", 404),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/-1", 404),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/other/0", 404),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/0?start=x", 400),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/0?start=-1&length=1", 416),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/0?length=0", 416),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/0?start=300", 416),
    ("GET", f"/v1/bundles/{SMALL.bundle_id.hex()}/chunks/{'9' * 400}", 404),
    ("GET", "/v1/inventory?after=zz", 400),
    ("GET", "/v1/inventory?limit=many", 400),
    ("PUT", "/v1/inventory", 404),
    ("GET", "/v1/records?after=zz", 400),
    ("GET", "/v1/records?limit=many", 400),
    ("PUT", "/v1/records", 404),
    ("DELETE", f"/v1/bundles/{SMALL.bundle_id.hex()}", 404),
    ("POST", "/v1/bundles/drop", 400),
    ("POST", "/v1/elsewhere", 404),
]
RANGES = [
    ("bytes=0-9", 206),
    ("bytes=100-", 206),
    ("bytes=0-99999999", 206),
    ("bytes=99999999-", 416),
    ("bytes=9-3", 416),
    ("bytes=-5", 416),
    ("lines=1-2", 416),
]


async def test_what_makes_no_sense_is_refused_not_crashed_on(node: Running) -> None:
    for method, target, status in NONSENSE:
        body = b"nonsense" if method == "POST" else b""
        assert await raw_status(node, method, target, body=body) == status, target


@pytest.mark.parametrize("bundle", [SMALL, LARGE], ids=["small", "large"])
async def test_a_reader_that_takes_nothing_is_left(
    bundle: IncomingBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep its answer in memory for as long as it likes."""
    monkeypatch.setattr("fileflux.storage_node.app.SEND_DEADLINE_S", 0.01)
    store = MemoryStore()
    await store.write([SMALL, LARGE])
    app = NodeApp(store, secret=SECRET, clock=CLOCK, epoch=5, fence=Fence())
    target = f"/v1/bundles/{bundle.bundle_id.hex()}"
    signature = sign(SECRET, method="GET", target=target, now_us=CLOCK.now_us())

    async def send(_message: Any) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        await app(scope_of("GET", target, signature), receive_nothing, send)


async def test_ranges_of_a_bundle(node: Running) -> None:
    target = f"/v1/bundles/{SMALL.bundle_id.hex()}"
    for text, status in RANGES:
        assert await raw_status(node, "GET", target, headers=(("Range", text),)) == status, text


@pytest.mark.parametrize("signature", ["", "1:00", "other body"])
async def test_no_body_is_read_for_a_request_that_is_not_signed(signature: str) -> None:
    """Who does not know the secret gets no memory of ours."""
    received: list[str] = []
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        received.append("asked")
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    if signature == "other body":
        signature = sign(
            b"another secret!!", method="POST", target=DROP_PATH, now_us=NOW, body=b"x"
        )
    app = NodeApp(MemoryStore(), secret=SECRET, clock=CLOCK, epoch=5, fence=Fence())
    await app(scope_of("POST", DROP_PATH, signature), receive, send)

    assert (received, statuses[0]) == ([], 403)


async def test_an_oversized_body_is_refused(node: Running) -> None:
    body = bytes(5 * 1024 * 1024)
    try:
        status = await raw_status(node, "POST", "/v1/bundles/drop", body=body)
    except NodeUnreachable:
        return
    assert status == 400


# --- a node that lies -------------------------------------------------------------------------


class Liar:
    """Answers every request with 200 and this body."""

    def __init__(self) -> None:
        self.body = b""

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def frame(data: bytes, *, count: int | None = None, crcs: bytes | None = None) -> bytes:
    place = SMALL.view.chunk(2)
    blocks = -(-len(data) // BLOCK_SIZE_BYTES)
    right = SMALL.view.block_crcs(place, 0, blocks)
    return struct.pack(">I", blocks if count is None else count) + (crcs or right) + data


CHUNK = chunk_bytes(2)
LIES = {
    "nothing": b"",
    "half a count": b"\x00\x00",
    "no blocks": struct.pack(">I", 0),
    "many blocks": struct.pack(">I", 2**32 - 1) + b"x" * 100,
    "another count": frame(CHUNK, count=3),
    "missing block": frame(CHUNK)[:-5_000],
    "one byte less": frame(CHUNK)[:-1],
    "one byte more": frame(CHUNK) + b"!",
    "other bytes": frame(bytes(len(CHUNK))),
    "other crcs": frame(CHUNK, crcs=bytes(16)),
}


async def test_no_lie_of_a_node_gets_through() -> None:
    liar = Liar()
    server = await serve(liar)
    client = NodeClient(SECRET, CLOCK, timeout_s=2)
    url = f"http://127.0.0.1:{server.port}"
    got = bytearray()

    async def read() -> None:
        async for piece in client.read_chunk(url, SMALL.bundle_id, 2, 0, len(CHUNK)):
            got.extend(piece)

    liar.body = frame(CHUNK)
    assert await client.read_small(url, SMALL.bundle_id, 2, 0, len(CHUNK)) == CHUNK
    for lie, body in LIES.items():
        liar.body = body
        with pytest.raises((ChunkCorrupt, NodeUnreachable)):
            pytest.fail(
                f"{lie}: {await client.read_small(url, SMALL.bundle_id, 2, 0, len(CHUNK))!r}"
            )
        got.clear()
        if lie != "one byte more":
            # A stream does not look behind what it was asked for.
            with pytest.raises((ChunkCorrupt, NodeUnreachable)):
                await read()
        assert CHUNK.startswith(got), lie
    await client.close()
    await server.stop()


async def test_a_node_that_stalls_is_left_at_the_deadline() -> None:
    async def stall(scope: Any, _receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"90")]}
        )
        await asyncio.sleep(30)

    server = await serve(stall)
    client = NodeClient(SECRET, CLOCK, timeout_s=0.2)
    url = f"http://127.0.0.1:{server.port}"
    async with asyncio.timeout(5):
        with pytest.raises(NodeUnreachable):
            await client.read_small(url, SMALL.bundle_id, 0, 0, 10)
    await client.close()
    server._server.force_exit = True
    await server.stop()


@pytest.mark.parametrize("raw", [b"\xff", b"\x91\x01", b"\xc0"])
async def test_an_inventory_that_cannot_be_read_is_no_inventory(raw: bytes) -> None:
    liar = Liar()
    liar.body = raw
    server = await serve(liar)
    client = NodeClient(SECRET, CLOCK)
    with pytest.raises(NodeUnreachable):
        await client.inventory(f"http://127.0.0.1:{server.port}", None, 10)
    await client.close()
    await server.stop()
