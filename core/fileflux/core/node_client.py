"""The client of the storage node's HTTP contract. Every byte it returns was verified here.

One node's word is not taken for its bytes: a block comes with its CRC32C and is checked against it
on this side of the network. What fails raises ChunkCorrupt, and the caller asks another replica.
"""

import struct
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

from fileflux.core.bundle_view import verify_blocks
from fileflux.core.clock import Clock
from fileflux.core.errors import ChunkCorrupt, FormatInvalid, NodeUnreachable, NoSuchBundle
from fileflux.core.http_client import Exchange, HttpPool, parse_origin
from fileflux.core.ids import BundleId
from fileflux.core.internal_auth import HEADER as SIGNATURE_HEADER
from fileflux.core.internal_auth import sign
from fileflux.core.model import BLOCK_SIZE_BYTES, MIB
from fileflux.core.node_api import (
    CRC_HEADER,
    DROP_PATH,
    INVENTORY_PATH,
    RECORDS_PATH,
    SIZE_HEADER,
)
from fileflux.core.node_messages import (
    MESSAGE_BYTES_MAX,
    DropItem,
    InventoryItem,
    decode_inventory,
    encode_drop,
)
from fileflux.core.node_records import PAGE_BYTES_MAX, HeldBundle, decode_records
from fileflux.core.tracing import TRACEPARENT, current

_U32: Final = struct.Struct(">I")
SMALL_READ_BYTES_MAX: Final = MIB + 2 * BLOCK_SIZE_BYTES
FETCH_BLOCKS: Final = 4
"""A long read is verified and handed on in runs of this many blocks: 256 KiB of memory."""
OWN_PATHS: Final = "/v1/"
"""Only requests of our own contract are signed: a presigned URL of a bucket needs no secret."""


class PullSink(Protocol):
    """Where a pulled bundle goes."""

    def begin(self, length: int) -> memoryview:
        """Return memory for exactly `length` bytes; raise to refuse them."""

    def arrived(self, count: int) -> None:
        """The next `count` bytes are there; raise as soon as they are wrong."""


class NodeClient:
    """Talks to all nodes and stagings of the cluster. Has an owner, who closes it."""

    def __init__(
        self, secret: bytes, clock: Clock, *, timeout_s: float = 10.0, connections_max: int = 512
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._timeout_s = timeout_s
        self._pool = HttpPool(connections_max=connections_max)

    async def close(self) -> None:
        await self._pool.close()

    async def read_small(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes:
        """Return `length` (1 MiB at most) verified bytes of a chunk, from `start` on.

        Raise ChunkCorrupt, NoSuchBundle or NodeUnreachable.
        """
        async with await self._ask_chunk(node_url, bundle_id, number, start, length) as answer:
            raw = memoryview(await answer.body(SMALL_READ_BYTES_MAX))
        what = _name(bundle_id, number)
        crcs_end = _U32.size * (1 + _frame_count(raw, start, length, what))
        blocks = raw[crcs_end:]
        verify_blocks(blocks, raw[_U32.size : crcs_end], what)
        skip = start % BLOCK_SIZE_BYTES
        wanted = bytes(blocks[skip : skip + length])
        if len(wanted) != length:
            raise ChunkCorrupt(f"{what} is shorter than its manifest says")
        return wanted

    async def read_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> AsyncIterator[memoryview]:
        """Yield verified pieces of a chunk, 256 KiB at most, as they arrive.

        Raise as `read_small` does, also in the middle: what was yielded before was right. Whoever
        stops early closes the iterator (`contextlib.aclosing`), which frees its connection.
        """
        what = _name(bundle_id, number)
        async with await self._ask_chunk(node_url, bundle_id, number, start, length) as answer:
            crcs = await _read_crcs(answer, start, length, what)
            skip, left, at = start % BLOCK_SIZE_BYTES, length, 0
            while left:
                run = memoryview(bytearray(min(FETCH_BLOCKS * BLOCK_SIZE_BYTES, answer.body_left)))
                if len(run) <= skip:
                    raise ChunkCorrupt(f"{what} is shorter than its manifest says")
                await answer.read_into(run)
                verify_blocks(run, crcs[at : at + _U32.size * FETCH_BLOCKS], what)
                at += _U32.size * FETCH_BLOCKS
                piece = run[skip : skip + left]
                skip = 0
                left -= len(piece)
                yield piece

    async def pull(self, url: str, sink: PullSink) -> None:
        """Read a whole bundle from a staging or a node into `sink`, which verifies it.

        Raise NoSuchBundle when the source no longer has it, NodeUnreachable when it breaks off.
        """
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        async with await self._ask(url, "GET", target) as answer:
            _check_status(answer, "the source")
            memory = sink.begin(answer.body_left)
            while memory:
                run = memory[: min(len(memory), MIB)]
                await answer.read_into(run)
                sink.arrived(len(run))
                memory = memory[len(run) :]

    async def head(self, node_url: str, bundle_id: BundleId) -> tuple[int, int]:
        """Return (size, crc) of a bundle as it was sealed; raise NoSuchBundle."""
        async with await self._ask(node_url, "HEAD", _bundle_target(bundle_id)) as answer:
            _check_status(answer, f"bundle {bundle_id.hex()}")
            headers = answer.head.headers
            try:
                return int(headers[SIZE_HEADER.lower()]), int(headers[CRC_HEADER.lower()], 16)
            except (KeyError, ValueError) as error:
                raise NodeUnreachable("an answer without size and crc") from error

    async def inventory(
        self, node_url: str, after: BundleId | None, limit: int
    ) -> list[InventoryItem]:
        """Return the next page of what a node holds, by id; an empty one at the end."""
        after_text = "" if after is None else after.hex()
        target = f"{INVENTORY_PATH}?after={after_text}&limit={limit}"
        async with await self._ask(node_url, "GET", target) as answer:
            _check_status(answer, "the inventory")
            raw = await answer.body(MESSAGE_BYTES_MAX)
        try:
            return decode_inventory(raw)
        except FormatInvalid as error:
            raise NodeUnreachable("an inventory that cannot be read") from error

    async def records(self, node_url: str, after: BundleId | None, limit: int) -> list[HeldBundle]:
        """Return the next page of what a node's bundles say, by id; an empty one at the end.

        Each record is verified here. Raise NodeUnreachable.
        """
        after_text = "" if after is None else after.hex()
        target = f"{RECORDS_PATH}?after={after_text}&limit={limit}"
        async with await self._ask(node_url, "GET", target) as answer:
            _check_status(answer, "the records")
            raw = await answer.body(PAGE_BYTES_MAX)
        try:
            return decode_records(raw)
        except FormatInvalid as error:
            raise NodeUnreachable("a page of records that cannot be read") from error

    async def drop(self, node_url: str, items: Sequence[DropItem]) -> None:
        """Tell a node which chunks nobody references. Telling it twice is the same as once."""
        async with await self._ask(node_url, "POST", DROP_PATH, encode_drop(items)) as answer:
            _check_status(answer, "the drop")

    async def _ask_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> Exchange:
        target = f"{_bundle_target(bundle_id)}/chunks/{number}?start={start}&length={length}"
        answer = await self._ask(node_url, "GET", target)
        if answer.head.status != 200:
            async with answer:
                _check_status(answer, _name(bundle_id, number))
        return answer

    async def _ask(self, url: str, method: str, target: str, body: bytes = b"") -> Exchange:
        headers = []
        if target.startswith(OWN_PATHS):
            now_us = self._clock.now_us()
            value = sign(self._secret, method=method, target=target, now_us=now_us, body=body)
            headers.append((SIGNATURE_HEADER, value))
            if (trace := current()) is not None:
                headers.append((TRACEPARENT, trace.traceparent))
        return await self._pool.exchange(
            parse_origin(_base(url)),
            method,
            target,
            headers=headers,
            body=body,
            timeout_s=self._timeout_s,
        )


def _base(url: str) -> str:
    """Return scheme and authority, so that the cache of origins does not fill with paths."""
    end = url.find("/", url.find("://") + 3)
    return url if end < 0 else url[:end]


def _bundle_target(bundle_id: BundleId) -> str:
    return f"/v1/bundles/{bundle_id.hex()}"


def _name(bundle_id: BundleId, number: int) -> str:
    return f"bundle {bundle_id.hex()} chunk {number}"


def _check_status(answer: Exchange, what: str) -> None:
    status = answer.head.status
    if status in (200, 204):
        return
    if status in (404, 410):
        raise NoSuchBundle(f"{what} is not there")
    if status == 416:
        raise ChunkCorrupt(f"{what} is shorter than its manifest says")
    hint = ": another secret, or a clock that is minutes off" if status == 403 else ""
    raise NodeUnreachable(f"{what}: the answer is {status}{hint}")


def _blocks_touched(start: int, length: int) -> int:
    return (start + length - 1) // BLOCK_SIZE_BYTES - start // BLOCK_SIZE_BYTES + 1


def _frame_count(raw: memoryview, start: int, length: int, what: str) -> int:
    wanted = _blocks_touched(start, length)
    if len(raw) < _U32.size * (1 + wanted) or _U32.unpack_from(raw)[0] != wanted:
        raise ChunkCorrupt(f"{what}: another slice than asked for")
    return wanted


async def _read_crcs(answer: Exchange, start: int, length: int, what: str) -> memoryview:
    """Return the frame's checksums; its count was compared with what the slice must have."""
    head = memoryview(bytearray(_U32.size * (1 + _blocks_touched(start, length))))
    if answer.body_left < len(head):
        raise ChunkCorrupt(f"{what}: another slice than asked for")
    await answer.read_into(head)
    _frame_count(head, start, length, what)
    return head[_U32.size :]
