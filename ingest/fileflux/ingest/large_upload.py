"""A large upload streams into bundles of its own, one per chunk, each assigned as soon as staged.

Nodes pull the first chunks while the last ones still arrive. Memory is a constant: at most two
batches of 1 MiB and the piece at hand; staged and not yet durable are at most four chunks. The seal
is published when all bundles are staged and the body is verified, so what breaks off before leaves
bundles that no seal names.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.bundle_format import PLACEHOLDER, LargeBundleWriter
from fileflux.core.bundle_records import UploadRecord
from fileflux.core.checksum import Buffer
from fileflux.core.errors import QuorumNotReached
from fileflux.core.ids import BundleId
from fileflux.core.model import MIB, Chunk, Manifest, SizeClass
from fileflux.ingest.assigner import Choice
from fileflux.ingest.chunker import cut_at_borders
from fileflux.ingest.flushing import Pipeline
from fileflux.ingest.seals import OpenSeal, WatchedBundle
from fileflux.ingest.staging import StagedFile
from fileflux.ingest.upload import Body, Finish, UploadIntent, complete_change

WRITE_BYTES_MIN: Final = MIB
"""Collected before a thread writes it: the hand-over is then a small part of the time."""
MEMORY_BYTES: Final = 3 * MIB
"""Per upload: a batch being written, one being collected, and the pieces at hand."""
CHUNKS_IN_FLIGHT_MAX: Final = 4
"""Staged and not yet on W nodes. Four hide one slow node; more only fills the staging."""
QUORUM_DEADLINE_S: Final = 30.0


@dataclass(slots=True)
class _OpenChunk:
    """The chunk that is streaming into its bundle."""

    bundle_id: BundleId
    choice: Choice
    file: StagedFile
    writer: LargeBundleWriter
    waiting: list[Buffer] = field(default_factory=lambda: [PLACEHOLDER])
    waiting_bytes: int = 0


class LargeUpload:
    """One upload (or part) on its way. Use it once: `stage`, then settle the seal."""

    def __init__(self, pipeline: Pipeline, intent: UploadIntent) -> None:
        self._pipeline = pipeline
        self._sealing = pipeline.sealing
        self._intent = intent
        self.seal: OpenSeal = pipeline.sealing.new_seal(intent.storage_class, SizeClass.LARGE)
        self._chunks: list[Chunk] = []
        self._in_flight: deque[WatchedBundle] = deque()
        self._open: _OpenChunk | None = None
        self._writing: asyncio.Task[None] | None = None

    async def stage(self, body: Body, finish: Finish) -> bytes:
        """Return the seal's record once everything is staged and the body verified.

        If it raises, nothing of the upload is left here.
        """
        self._pipeline.settler.open(self.seal)
        try:
            size = await self._take(body)
            return await self._seal(size, finish)
        except BaseException:
            await self._abandon()
            raise

    async def _take(self, body: Body) -> int:
        position = 0
        async for piece in body:
            for number, run in cut_at_borders(piece, position):
                if self._open is not None and number > len(self._chunks):
                    await self._end_chunk(None)
                await self._add(run)
            position += len(piece)
        return position

    async def _seal(self, size: int, finish: Finish) -> bytes:
        assert self._open is not None, "a large upload is not empty"
        last = Chunk(self._open.bundle_id, 0, self._open.writer.length)
        manifest = Manifest((*self._chunks, last))
        change = finish(size, manifest)
        record = self._intent.record(change, manifest if self._chunks else None)
        await self._end_chunk(record)
        self._check_not_failed()
        now_us = self._sealing.now_us()
        sealed = complete_change(change, manifest, staged_us=now_us, sealed_us=now_us)
        return self._sealing.seal_record(self.seal, [sealed], now_us)

    async def _add(self, run: memoryview) -> None:
        chunk = self._open or await self._begin_chunk()
        chunk.writer.update(run)
        chunk.waiting.append(run)
        chunk.waiting_bytes += len(run)
        if chunk.waiting_bytes >= WRITE_BYTES_MIN:
            await self._write_behind(chunk)

    async def _begin_chunk(self) -> _OpenChunk:
        await self._wait_for_window()
        bundle_id = self._sealing.new_bundle_id()
        choice = self._pipeline.assigner.choose(
            bundle_id, self._intent.storage_class, SizeClass.LARGE
        )
        writer = LargeBundleWriter(bundle_id, self.seal.seal_id)
        file = self._pipeline.staging.begin(bundle_id)
        self._open = _OpenChunk(bundle_id, choice, file, writer)
        return self._open

    async def _wait_for_window(self) -> None:
        """Return when fewer than four chunks wait for their quorum."""
        self._check_not_failed()
        while self._in_flight and self._in_flight[0].has_quorum:
            self._in_flight.popleft()
        while len(self._in_flight) >= CHUNKS_IN_FLIGHT_MAX:
            oldest = self._in_flight.popleft()
            try:
                async with asyncio.timeout(QUORUM_DEADLINE_S):
                    await oldest.wait_for_quorum()
            except TimeoutError as error:
                raise QuorumNotReached(f"bundle {oldest.bundle_id.hex()}: no quorum") from error

    async def _write_behind(self, chunk: _OpenChunk) -> None:
        """Write what is collected while the next pieces arrive."""
        await self._wait_for_writing()
        waiting, chunk.waiting, chunk.waiting_bytes = chunk.waiting, [], 0
        if waiting:
            work = chunk.file.append(waiting)
            self._writing = asyncio.get_running_loop().create_task(work, name="write a chunk")

    async def _wait_for_writing(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _end_chunk(self, record: UploadRecord | None) -> None:
        chunk, number = self._open, len(self._chunks)
        assert chunk is not None
        await self._write_behind(chunk)
        await self._wait_for_writing()
        meta = self._intent.chunk_meta(number, record)
        finished = chunk.writer.finish(meta, self._sealing.now_us())
        sync = self._intent.on_staged is not None
        await chunk.file.finish(header=finished.header, tail=finished.tail, sync=sync)
        self._open = None
        self._chunks.append(Chunk(chunk.bundle_id, 0, chunk.writer.length))
        bundle = self._pipeline.staged(
            self.seal, chunk.bundle_id, chunk.choice, size=finished.size, crc=finished.crc
        )
        bundle.is_held = self._intent.on_staged is not None
        self._in_flight.append(bundle)

    def _check_not_failed(self) -> None:
        if self.seal.is_settled:
            raise QuorumNotReached(f"seal {self.seal.seal_id.hex()}: too few nodes")

    async def _abandon(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        if self._open is not None:
            await self._open.file.abandon()
        self._pipeline.forget(self.seal)
