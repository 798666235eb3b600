"""The read path: manifest, replicas, verified bytes, in order and in bounded memory.

`open` returns once the first bytes are there, so what fails before them is an answer (503, 500) and
what fails behind them is a broken connection: never a whole wrong body. Small objects are one read;
large ones stream chunk by chunk, the next chunk begun while the one before it is sent.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol, TypeVar

from fileflux.core.batching import Batcher
from fileflux.core.checksum import Buffer
from fileflux.core.errors import MetadataBusy, NodeUnreachable, SlowDown
from fileflux.core.ids import BundleId, NodeId, UploadId
from fileflux.core.model import KIB, MIB, SMALL_OBJECT_BYTES_MAX, Manifest
from fileflux.ingest.admission import MemoryBudget
from fileflux.ingest.chunk_cache import ChunkCache
from fileflux.ingest.replica_reader import FreshReplicas, ReplicaReader
from fileflux.ingest.slices import Slice, parts_in, slices_of
from fileflux.metadata.ports import FoundObject
from fileflux.metadata.rows import ObjectRow

LOOK_AHEAD: Final = 16
"""Bundles, or parts, that one statement looks up for a stream."""
CHUNKS_BEGUN_AHEAD: Final = 1
"""Enough to hide a node's first byte behind 8 MiB; more would only hold connections."""
STREAM_BYTES: Final = 2 * MIB
"""Memory of a stream at most: what is being sent and what is begun ahead, each 1 MiB or a run."""
REQUEST_BYTES: Final = 64 * KIB
MANIFESTS_PER_STATEMENT: Final = 256
STATEMENTS_IN_FLIGHT: Final = 2
LOOKUP_DEADLINE_S: Final = 10.0

Item = TypeVar("Item")
Found = TypeVar("Found")


class VersionGone(NodeUnreachable):
    """The version's parts went while it was read: somebody replaced the object meanwhile."""


class ManifestReader(FreshReplicas, Protocol):
    """The part of `MetadataReader` that reading needs."""

    async def find_objects(self, wanted: Sequence[tuple[str, bytes]]) -> list[FoundObject]: ...

    async def part_manifests(
        self, upload_id: UploadId, part_numbers: Sequence[int]
    ) -> dict[int, Manifest]: ...


class ManifestLookup:
    """One statement for all GETs and HEADs that wait."""

    def __init__(self, reader: ManifestReader) -> None:
        self._reader = reader
        self._batcher: Batcher[tuple[str, bytes], FoundObject] = Batcher(
            self._find_all, depth=STATEMENTS_IN_FLIGHT, items_max=MANIFESTS_PER_STATEMENT
        )

    async def find(self, bucket: str, key: bytes) -> FoundObject:
        """Return what a key is now: a read that began before this call is never its answer."""
        return await self._batcher.submit((bucket, key))

    async def close(self) -> None:
        await self._batcher.close()

    async def _find_all(self, wanted: Sequence[tuple[str, bytes]]) -> list[FoundObject]:
        return await _in_time(self._reader.find_objects(wanted))


class ObjectBody:
    """An object's bytes, the first of them there: iterate once, or `aclose` it.

    Its memory counts until the last piece was handed on and the next one is asked for.
    """

    __slots__ = ("_first", "_hold", "_rest")

    def __init__(
        self, first: Buffer, rest: AsyncGenerator[Buffer, None] | None, hold: "_Hold"
    ) -> None:
        self._first: Buffer | None = first
        self._rest = rest
        self._hold = hold

    def __aiter__(self) -> "ObjectBody":
        return self

    async def __anext__(self) -> Buffer:
        first, self._first = self._first, None
        if first is not None:
            return first
        if self._rest is None:
            self._hold.release()
            raise StopAsyncIteration
        try:
            return await anext(self._rest)
        except BaseException:
            self._hold.release()
            raise

    async def aclose(self) -> None:
        if self._rest is not None:
            await self._rest.aclose()
        self._hold.release()


class _Hold:
    """Memory taken from a budget; given back once, at the latest when nobody knows it any more."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: MemoryBudget, size: int) -> None:
        if not budget.take(size):
            raise SlowDown("too many downloads at once")
        self._budget = budget
        self._size = size

    def release(self) -> None:
        size, self._size = self._size, 0
        self._budget.give_back(size)

    def __del__(self) -> None:
        if getattr(self, "_size", 0):
            self.release()


class ObjectReader:
    """Opens bytes of objects. `memory` is shared with the uploads of this worker."""

    def __init__(
        self,
        reader: ManifestReader,
        replicas: ReplicaReader,
        *,
        cache: ChunkCache,
        memory: MemoryBudget,
    ) -> None:
        self._reader = reader
        self._replicas = replicas
        self._cache = cache
        self._memory = memory

    async def open(self, found: FoundObject, row: ObjectRow, start: int, length: int) -> ObjectBody:
        """Return bytes `start` to `start + length` (1 or more) of a version, the first ones there.

        Raise SlowDown without memory, MetadataBusy, NodeUnreachable or ChunkCorrupt without a good
        replica; reading on raises the latter three as well.
        """
        assert 0 <= start < start + length <= row.size, (start, length, row.size)
        hold = _Hold(self._memory, REQUEST_BYTES + min(length, STREAM_BYTES))
        try:
            return await self._open(found, row, start, length, hold)
        except BaseException:
            hold.release()
            raise

    async def _open(
        self, found: FoundObject, row: ObjectRow, start: int, length: int, hold: _Hold
    ) -> ObjectBody:
        if length <= SMALL_OBJECT_BYTES_MAX and row.manifest.chunks:
            pieces = list(slices_of(row.manifest.chunks, start, length))
            if len(pieces) == 1 and pieces[0].length == length:
                ((piece, nodes),) = await self._locate(found.replicas, pieces)
                return ObjectBody(await self._read_small(piece, nodes), None, hold)
        body = self._read(found, row, start, length)
        return ObjectBody(await anext(body), body, hold)

    async def _read(
        self, found: FoundObject, row: ObjectRow, start: int, length: int
    ) -> AsyncGenerator[Buffer, None]:
        """Yield exactly `length` bytes, or raise."""
        sent = 0
        async with aclosing(self._runs(found.replicas, row, start, length)) as runs:
            async for run in runs:
                sent += len(run)
                yield run
        if sent != length:
            raise VersionGone(f"version {row.version_id.hex()}: its manifest is incomplete")

    async def _runs(
        self,
        known: Mapping[BundleId, tuple[NodeId, ...]],
        row: ObjectRow,
        start: int,
        length: int,
    ) -> AsyncGenerator[Buffer, None]:
        """Yield the range's bytes; the next chunk is begun before this one is sent."""
        begun: deque[_BegunChunk] = deque()
        try:
            async with aclosing(self._located(known, row, start, length)) as located:
                async for piece, nodes in located:
                    begun.append(_BegunChunk(self._pieces(piece, nodes)))
                    if len(begun) > CHUNKS_BEGUN_AHEAD:
                        yield await begun[0].first
                        async for run in begun[0].pieces:
                            yield run
                        begun.popleft()
            while begun:
                yield await begun[0].first
                async for run in begun[0].pieces:
                    yield run
                begun.popleft()
        finally:
            for chunk in begun:
                await chunk.close()

    async def _pieces(self, piece: Slice, nodes: Sequence[NodeId]) -> AsyncGenerator[Buffer, None]:
        if piece.length <= SMALL_OBJECT_BYTES_MAX:
            yield await self._read_small(piece, nodes)
            return
        async with aclosing(self._replicas.stream(piece, nodes)) as runs:
            async for run in runs:
                yield run

    async def _read_small(self, piece: Slice, nodes: Sequence[NodeId]) -> bytes:
        """Return one slice, from memory if it was read before."""
        if not piece.whole:
            return await self._replicas.read_small(piece, nodes)
        key = (piece.bundle_id, piece.number, piece.start, piece.length)
        data = self._cache.get(key)
        if data is None:
            data = await self._replicas.read_small(piece, nodes)
            self._cache.put(key, data)
        return data

    async def _located(
        self,
        known: Mapping[BundleId, tuple[NodeId, ...]],
        row: ObjectRow,
        start: int,
        length: int,
    ) -> AsyncGenerator[tuple[Slice, tuple[NodeId, ...]], None]:
        """Yield each slice with its replicas, looked up for the next 16 bundles at once."""
        group: list[Slice] = []
        async with aclosing(self._slices(row, start, length)) as slices:
            async for piece in slices:
                group.append(piece)
                if len(group) == LOOK_AHEAD:
                    for located in await self._locate(known, group):
                        yield located
                    group = []
        for located in await self._locate(known, group):
            yield located

    async def _locate(
        self, known: Mapping[BundleId, tuple[NodeId, ...]], group: Sequence[Slice]
    ) -> list[tuple[Slice, tuple[NodeId, ...]]]:
        missing = {piece.bundle_id for piece in group} - known.keys()
        if missing:
            found = await _in_time(self._reader.replicas_of(tuple(missing)))
            known = {**known, **found}
        return [(piece, known.get(piece.bundle_id, ())) for piece in group]

    async def _slices(self, row: ObjectRow, start: int, length: int) -> AsyncGenerator[Slice, None]:
        """Yield the slices of a range; the parts' manifests are read as they are needed."""
        if not row.manifest.parts:
            for piece in slices_of(row.manifest.chunks, start, length):
                yield piece
            return
        for group in _grouped(parts_in(row.manifest.parts, start, length), LOOK_AHEAD):
            numbers = [number for number, _, _ in group]
            manifests = await _in_time(self._reader.part_manifests(row.content_id, numbers))
            for number, part_start, part_length in group:
                manifest = manifests.get(number, Manifest())
                for piece in slices_of(manifest.chunks, part_start, part_length):
                    yield piece


class _BegunChunk:
    """A chunk whose first run is on its way; then `pieces` has the rest."""

    def __init__(self, pieces: AsyncGenerator[Buffer, None]) -> None:
        self.pieces = pieces
        self.first: asyncio.Task[Buffer] = asyncio.create_task(_next_of(pieces))

    async def close(self) -> None:
        self.first.cancel()
        await asyncio.gather(self.first, return_exceptions=True)
        await self.pieces.aclose()


async def _next_of(pieces: AsyncGenerator[Buffer, None]) -> Buffer:
    return await anext(pieces)


async def _in_time(work: Awaitable[Found]) -> Found:
    try:
        async with asyncio.timeout(LOOKUP_DEADLINE_S):
            return await work
    except TimeoutError as error:
        raise MetadataBusy("the database does not answer") from error


def _grouped(items: Iterable[Item], size: int) -> Iterable[list[Item]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group
