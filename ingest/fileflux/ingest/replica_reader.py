"""Read a slice of a chunk from whichever replica can give it, verified.

Every byte was checked against its block's CRC by the client before it comes here; a replica that is
corrupt, gone, unreachable or stalls is left for the next one, also in the middle: what was handed
on was right, so the next replica continues behind it. A small read that takes longer than most asks
a second replica too, and the first answer wins.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from fileflux.core.checksum import Buffer
from fileflux.core.clock import Clock
from fileflux.core.errors import (
    ChunkCorrupt,
    Corrupt,
    FileFluxError,
    NodeUnreachable,
    NoSuchBundle,
    Unavailable,
)
from fileflux.core.ids import BundleId, NodeId, route_hash
from fileflux.core.telemetry import READS_HEDGED, REPLICAS_FAILED, get_logger
from fileflux.ingest.slices import Slice

log = get_logger(__name__)

STALL_S: Final = 2.0
"""A replica that sends nothing for this long is left, if there is another one."""
LOOKUP_DEADLINE_S: Final = 5.0
DISTRUST_S: Final = 5.0
"""How long an unreachable node is asked last."""


class ChunkReader(Protocol):
    """The part of `core.node_client.NodeClient` that reading needs; what it returns is verified."""

    async def read_small(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> bytes: ...

    def read_chunk(
        self, node_url: str, bundle_id: BundleId, number: int, start: int, length: int
    ) -> AsyncIterator[memoryview]: ...


class NodeUrls(Protocol):
    """The part of the placement map that reading needs."""

    def node_url(self, node_id: NodeId) -> str | None: ...

    def is_alive(self, node_id: NodeId) -> bool: ...


class FreshReplicas(Protocol):
    """Asks the database who has a bundle now."""

    async def replicas_of(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[NodeId, ...]]: ...


class ReplicaReader:
    """Chooses replicas, and remembers for a few seconds which nodes did not answer."""

    def __init__(
        self,
        chunks: ChunkReader,
        nodes: NodeUrls,
        fresh: FreshReplicas,
        *,
        clock: Clock,
        hedge_s: float = 0.05,
    ) -> None:
        self._chunks = chunks
        self._nodes = nodes
        self._fresh = fresh
        self._clock = clock
        self._hedge_s = hedge_s
        self._distrusted: dict[NodeId, float] = {}

    async def read_small(self, piece: Slice, replicas: Sequence[NodeId]) -> bytes:
        """Return a slice of 1 MiB at most.

        Raise NodeUnreachable when some replica may still have it, ChunkCorrupt when none has.
        """
        race = _Race(self, piece)
        try:
            order = self._in_order(piece.bundle_id, replicas)
            if len(order) == 1 and (data := await race.run_alone(order.pop())) is not None:
                return data
            for node_id in order:
                if (data := await race.enter(node_id, self._hedge_s)) is not None:
                    return data
            if (data := await race.wait_for_rest()) is not None:
                return data
            for node_id in await self._others(piece, race.asked):
                if (data := await race.enter(node_id, None)) is not None:
                    return data
        finally:
            race.close()
        raise none_left(piece, race.failures)

    async def stream(
        self, piece: Slice, replicas: Sequence[NodeId]
    ) -> AsyncGenerator[Buffer, None]:
        """Yield a slice as it arrives. Raises as `read_small` does, also in the middle."""
        failures: list[FileFluxError] = []
        asked: set[NodeId] = set()
        waiting = self._in_order(piece.bundle_id, replicas)
        done = 0
        while done < piece.length:
            if not waiting:
                waiting = await self._others(piece, asked)
            if not waiting:
                raise none_left(piece, failures)
            node_id = waiting.pop(0)
            asked.add(node_id)
            try:
                pieces = self._pieces(node_id, piece, done, stall_s=STALL_S if waiting else None)
                async with aclosing(pieces):
                    async for run in pieces:
                        yield run
                        done += len(run)
            except (Corrupt, NoSuchBundle, NodeUnreachable) as error:
                failures.append(error)
                self.note_failure(node_id, piece, error)

    async def read_from(self, node_id: NodeId, piece: Slice) -> bytes:
        url = self._url(node_id)
        return await self._chunks.read_small(
            url, piece.bundle_id, piece.number, piece.start, piece.length
        )

    def note_failure(self, node_id: NodeId, piece: Slice, error: FileFluxError) -> None:
        """Say which replica failed; one that was not reached is asked last for a while."""
        REPLICAS_FAILED.labels(type(error).__name__).inc()
        if isinstance(error, NodeUnreachable):
            self._distrusted[node_id] = self._clock.monotonic_s() + DISTRUST_S
        log.warning(
            "a replica cannot be read",
            node_id=node_id,
            bundle_id=piece.bundle_id.hex(),
            problem=str(error),
        )

    async def _pieces(
        self, node_id: NodeId, piece: Slice, done: int, *, stall_s: float | None
    ) -> AsyncGenerator[Buffer, None]:
        """Yield from one replica; a stall is NodeUnreachable. Time with the consumer is none."""
        runs = self._chunks.read_chunk(
            self._url(node_id),
            piece.bundle_id,
            piece.number,
            piece.start + done,
            piece.length - done,
        )
        try:
            while True:
                try:
                    async with asyncio.timeout(stall_s):
                        run = await anext(runs)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise NodeUnreachable(f"node {node_id} stalls") from error
                yield run
        finally:
            close = getattr(runs, "aclose", None)
            if close is not None:
                await close()

    def _in_order(self, bundle_id: BundleId, replicas: Sequence[NodeId]) -> list[NodeId]:
        """Return known nodes, the promising ones first; one bundle always begins at one node.

        Then its blocks are in one node's memory and not in three.
        """
        known = [node_id for node_id in replicas if self._nodes.node_url(node_id) is not None]
        if len(known) < 2:
            return known
        known.sort()
        first = route_hash(bundle_id) % len(known)
        now_s = self._clock.monotonic_s()
        return sorted(known[first:] + known[:first], key=lambda n: self._doubt(n, now_s))

    def _doubt(self, node_id: NodeId, now_s: float) -> int:
        until_s = self._distrusted.get(node_id)
        if until_s is not None and now_s >= until_s:
            del self._distrusted[node_id]
            until_s = None
        return (not self._nodes.is_alive(node_id)) + (until_s is not None)

    async def _others(self, piece: Slice, asked: Collection[NodeId]) -> list[NodeId]:
        """Return replicas that were not asked yet: repair may have made one since."""
        try:
            async with asyncio.timeout(LOOKUP_DEADLINE_S):
                found = await self._fresh.replicas_of([piece.bundle_id])
        except (Unavailable, TimeoutError) as error:
            log.info("replicas cannot be looked up", problem=str(error))
            return []
        fresh = [node for node in found.get(piece.bundle_id, ()) if node not in asked]
        return self._in_order(piece.bundle_id, fresh)

    def _url(self, node_id: NodeId) -> str:
        url = self._nodes.node_url(node_id)
        if url is None:
            raise NodeUnreachable(f"node {node_id} is not in the map")
        return url


class _Race:
    """Small reads of one slice from several replicas; the first that succeeds wins."""

    def __init__(self, reader: ReplicaReader, piece: Slice) -> None:
        self._reader = reader
        self._piece = piece
        self._running: dict[asyncio.Task[bytes], NodeId] = {}
        self.asked: set[NodeId] = set()
        self.failures: list[FileFluxError] = []

    async def enter(self, node_id: NodeId, patience_s: float | None) -> bytes | None:
        """Ask one more replica; None when nobody has succeeded and another one should be asked."""
        if self._running:
            READS_HEDGED.inc()
        self.asked.add(node_id)
        work = self._reader.read_from(node_id, self._piece)
        self._running[asyncio.get_running_loop().create_task(work)] = node_id
        return await self._first(patience_s)

    async def run_alone(self, node_id: NodeId) -> bytes | None:
        """Ask the only replica there is: nobody to race with."""
        self.asked.add(node_id)
        try:
            return await self._reader.read_from(node_id, self._piece)
        except (Corrupt, NoSuchBundle, NodeUnreachable) as error:
            self._failed(node_id, error)
            return None

    async def wait_for_rest(self) -> bytes | None:
        """Nobody else can be asked: wait for those that were."""
        while self._running:
            if (data := await self._first(None)) is not None:
                return data
        return None

    def close(self) -> None:
        for task in self._running:
            task.cancel()
            task.add_done_callback(_look_at)

    async def _first(self, patience_s: float | None) -> bytes | None:
        done, _ = await asyncio.wait(
            self._running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            node_id = self._running.pop(task)
            try:
                return task.result()
            except (Corrupt, NoSuchBundle, NodeUnreachable) as error:
                self._failed(node_id, error)
        return None

    def _failed(self, node_id: NodeId, error: FileFluxError) -> None:
        self.failures.append(error)
        self._reader.note_failure(node_id, self._piece, error)


def _look_at(task: "asyncio.Task[bytes]") -> None:
    """Nobody waits for a loser's failure."""
    if not task.cancelled():
        task.exception()


def none_left(piece: Slice, failures: Sequence[FileFluxError]) -> FileFluxError:
    """Return what to tell: come again if a replica may still have it, else that it is damaged."""
    name = f"bundle {piece.bundle_id.hex()} chunk {piece.number}"
    if failures and all(isinstance(error, Corrupt | NoSuchBundle) for error in failures):
        return ChunkCorrupt(f"{name}: no good replica is left")
    return NodeUnreachable(f"{name}: no replica can be reached")
