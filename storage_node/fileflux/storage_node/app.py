"""The node's HTTP API: the contract of `core.node_api`. Plain ASGI, because a small read is hot.

Nothing is trusted that is not signed with the cluster's secret, and nothing is verified here that
the reader verifies: a node that checks its own bytes proves nothing about the way to the reader.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fileflux.core.bundle_records import HEADER_SIZE_BYTES
from fileflux.core.clock import Clock
from fileflux.core.errors import (
    Corrupt,
    Invalid,
    InvalidRange,
    NoSuchBundle,
    Unavailable,
)
from fileflux.core.ids import BundleId, parse_id
from fileflux.core.internal_auth import HEADER as SIGNATURE_HEADER
from fileflux.core.internal_auth import body_hash, verify_head
from fileflux.core.model import BLOCK_SIZE_BYTES, KIB, MIB
from fileflux.core.node_api import (
    CHUNK_SIZE_HEADER,
    CRC_HEADER,
    DROP_PATH,
    EPOCH_HEADER,
    INVENTORY_PATH,
    RECORDS_PATH,
    SIZE_HEADER,
)
from fileflux.core.node_messages import (
    INVENTORY_PAGE_MAX,
    decode_drop,
    encode_inventory,
)
from fileflux.core.node_records import RECORDS_PAGE_BYTES, RECORDS_PAGE_MAX, encode_record
from fileflux.core.telemetry import NODE_SENT_BYTES, get_logger
from fileflux.storage_node.bundle_store import BundleStore, StoredBundle
from fileflux.storage_node.fence import Fence
from fileflux.storage_node.inventory import InventoryReading
from fileflux.storage_node.requests import (
    Receive,
    Scope,
    Send,
    header_of,
    parse_range,
    query_of,
    read_body,
)

log = get_logger(__name__)

WHOLE_BYTES_MAX: Final = 256 * KIB
"""Up to here an answer is one read and one message; beyond, pieces of 1 MiB."""
PIECE_BYTES: Final = MIB
SEND_DEADLINE_S: Final = 30.0
RECORDS_TIME_S: Final = 3.0
"""A page of records ends then, whatever it has: whoever asked waits, and disks may be slow."""
BUNDLES_PREFIX: Final = "/v1/bundles/"

Headers = list[tuple[bytes, bytes]]
_U32: Final = struct.Struct(">I")
_SIGNATURE: Final = SIGNATURE_HEADER.lower().encode()


@dataclass(frozen=True, slots=True)
class _Answer:
    """Status, headers and a short body; `source` instead: (bundle, offset, length) of its bytes.

    `then`: called when it was sent.
    """

    status: int
    headers: Headers
    body: bytes = b""
    source: tuple[StoredBundle, int, int] | None = None
    then: Callable[[], Awaitable[None]] | None = None


class NodeApp:
    """An ASGI application over a store."""

    def __init__(
        self, store: BundleStore, *, secret: bytes, clock: Clock, epoch: int, fence: Fence
    ) -> None:
        self._store = store
        self._secret = secret
        self._clock = clock
        self._epoch_header = (EPOCH_HEADER.lower().encode(), str(epoch).encode())
        self._fence = fence
        self._inventory_reading = InventoryReading()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
            await self._send(send, answer)
            if answer.then is not None:
                await answer.then()
        except TimeoutError:
            log.info("a reader stopped reading", path=scope["path"])
        except (Corrupt, OSError, Unavailable) as error:
            # In the middle of a body: the server ends the connection before the promised length.
            log.warning("a bundle cannot be read on", path=scope["path"], reason=str(error))

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        try:
            return await self._dispatch(scope, receive)
        except NoSuchBundle:
            return _Answer(404, [])
        except InvalidRange:
            return _Answer(416, [])
        except (Invalid, ValueError):
            return _Answer(400, [])
        except Unavailable:
            return _Answer(503, [])
        except (Corrupt, OSError) as error:
            log.warning("a bundle cannot be read", path=scope["path"], reason=str(error))
            return _Answer(500, [])

    async def _dispatch(self, scope: Scope, receive: Receive) -> _Answer:
        method, path = scope["method"], scope["path"]
        promised = self._promised_body(scope)
        if promised is None:
            return _Answer(403, [])
        body = await read_body(receive) if method == "POST" else b""
        if body_hash(body) != promised:
            return _Answer(403, [])
        if method == "POST" and path == DROP_PATH:
            await self._store.drop(decode_drop(body))
            return _Answer(204, [])
        if method == "GET" and path == INVENTORY_PATH:
            return await self._inventory(query_of(scope))
        if method == "GET" and path == RECORDS_PATH:
            return await self._records(query_of(scope))
        if method in ("GET", "HEAD") and path.startswith(BUNDLES_PREFIX):
            return await self._bundle(scope, method, path.removeprefix(BUNDLES_PREFIX))
        return _Answer(404, [])

    def _promised_body(self, scope: Scope) -> str | None:
        """Return the hash of the body that was signed, None when the request is not."""
        value = header_of(scope, _SIGNATURE)
        if value is None:
            return None
        target = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target = f"{target}?{scope['query_string'].decode('latin-1')}"
        now_us = self._clock.now_us()
        return verify_head(
            self._secret, value, method=scope["method"], target=target, now_us=now_us
        )

    async def _bundle(self, scope: Scope, method: str, rest: str) -> _Answer:
        id_text, _, chunk_path = rest.partition("/")
        bundle = await self._store.open(BundleId(parse_id(id_text)))
        if chunk_path:
            word, _, number = chunk_path.partition("/")
            if method != "GET" or word != "chunks" or not number.isdecimal():
                return _Answer(404, [])
            return self._slice(bundle, int(number), query_of(scope))
        size, crc = bundle.view.header.sealed
        headers = [
            (SIZE_HEADER.lower().encode(), str(size).encode()),
            (CRC_HEADER.lower().encode(), f"{crc:08x}".encode()),
            self._epoch_header,
        ]
        if method == "HEAD":
            return _Answer(204, headers)
        return _whole(bundle, header_of(scope, b"range"), headers)

    def _slice(self, bundle: StoredBundle, number: int, query: dict[str, str]) -> _Answer:
        """Answer with a frame: count, checksums, then the blocks that hold the slice."""
        place = bundle.view.chunk(number)
        start = int(query.get("start", "0"))
        length = int(query.get("length", str(place.length - start)))
        if start < 0 or length < 1 or start + length > place.length:
            raise InvalidRange(f"{start}+{length} of {place.length}")
        first = start // BLOCK_SIZE_BYTES
        count = (start + length - 1) // BLOCK_SIZE_BYTES - first + 1
        begin = first * BLOCK_SIZE_BYTES
        end = min(place.length, (first + count) * BLOCK_SIZE_BYTES)
        frame = _U32.pack(count) + bundle.view.block_crcs(place, first, count)
        headers = [(CHUNK_SIZE_HEADER.lower().encode(), str(place.length).encode())]
        return _Answer(200, headers, frame, (bundle, place.offset + begin, end - begin))

    async def _inventory(self, query: dict[str, str]) -> _Answer:
        after = BundleId(parse_id(query["after"])) if query.get("after") else None
        limit = max(1, min(int(query.get("limit", INVENTORY_PAGE_MAX)), INVENTORY_PAGE_MAX))
        items = await self._store.inventory(after, limit)

        async def then() -> None:
            if self._inventory_reading.sent(after, items, is_last=len(items) < limit):
                await self._fence.inventory_was_read()

        return _Answer(200, [self._epoch_header], encode_inventory(items), then=then)

    async def _records(self, query: dict[str, str]) -> _Answer:
        """Answer with what the next bundles say of themselves, and no byte of their data."""
        after = BundleId(parse_id(query["after"])) if query.get("after") else None
        limit = max(1, min(int(query.get("limit", RECORDS_PAGE_MAX)), RECORDS_PAGE_MAX))
        page = bytearray()
        until_s = self._clock.monotonic_s() + RECORDS_TIME_S
        for item in await self._store.inventory(after, limit):
            page += encode_record(item.bundle_id, await self._record(item.bundle_id))
            if len(page) >= RECORDS_PAGE_BYTES or self._clock.monotonic_s() > until_s:
                break
        return _Answer(200, [self._epoch_header], bytes(page))

    async def _record(self, bundle_id: BundleId) -> bytes | None:
        try:
            bundle = await self._store.open(bundle_id)
            header = bundle.view.header
            tail = await bundle.read(header.tables_offset, header.size - header.tables_offset)
            return bytes(await bundle.read(0, HEADER_SIZE_BYTES)) + bytes(tail)
        except (NoSuchBundle, Corrupt, OSError) as error:
            log.warning("a bundle cannot be read", bundle=bundle_id.hex(), reason=str(error))
            return None

    async def _send(self, send: Send, answer: _Answer) -> None:
        length = len(answer.body) + (answer.source[2] if answer.source else 0)
        body = answer.body
        if answer.source is not None and length <= WHOLE_BYTES_MAX:
            try:
                body += await _read(answer.source, 0, answer.source[2])
            except (Corrupt, OSError, Unavailable) as error:
                log.warning("a bundle cannot be read", reason=str(error))
                answer, body, length = _Answer(500, []), b"", 0
        headers = [*answer.headers, (b"content-length", str(length).encode())]
        is_whole = len(body) == length
        async with asyncio.timeout(SEND_DEADLINE_S):
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            if body or is_whole:
                await send({"type": "http.response.body", "body": body, "more_body": not is_whole})
        if answer.source is not None and not is_whole:
            await _send_pieces(send, answer.source)
        if answer.source is not None:
            NODE_SENT_BYTES.inc(answer.source[2])


async def _send_pieces(send: Send, source: tuple[StoredBundle, int, int]) -> None:
    length = source[2]
    for at in range(0, length, PIECE_BYTES):
        piece = await _read(source, at, min(PIECE_BYTES, length - at))
        is_more = at + PIECE_BYTES < length
        async with asyncio.timeout(SEND_DEADLINE_S):
            await send({"type": "http.response.body", "body": piece, "more_body": is_more})


async def _read(source: tuple[StoredBundle, int, int], at: int, length: int) -> bytes:
    bundle, offset, _ = source
    return bytes(await bundle.read(offset + at, length))


def _whole(bundle: StoredBundle, range_text: str | None, headers: Headers) -> _Answer:
    size = bundle.view.header.size
    if range_text is None:
        return _Answer(200, headers, source=(bundle, 0, size))
    start, end = parse_range(range_text, size)
    content_range = (b"content-range", f"bytes {start}-{end - 1}/{size}".encode())
    return _Answer(206, [*headers, content_range], source=(bundle, start, end - start))
