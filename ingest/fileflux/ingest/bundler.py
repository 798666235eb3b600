"""The write engine: a verified body becomes staged bundles, a seal, a settlement, an outcome.

`write` returns when the upload is durable on W nodes and visible to every reader, or refused by the
state; it raises when nothing of it applied (503), or when the database cannot say (unknown).
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from fileflux.core.changes import Change, Outcome
from fileflux.core.checksum import Buffer
from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import Unavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import Incarnation, lane_of
from fileflux.core.model import SMALL_OBJECT_BYTES_MAX, Manifest
from fileflux.core.tracing import Span, parse_traceparent, tracer
from fileflux.events.ports import Broker
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_COMPLETED
from fileflux.ingest.assigner import Assigner, PlacementView
from fileflux.ingest.background import Background
from fileflux.ingest.completions import Completions
from fileflux.ingest.database_clock import DatabaseClock
from fileflux.ingest.flush_traces import describe_seal
from fileflux.ingest.flushing import Pipeline, answer, outcomes_of
from fileflux.ingest.large_upload import LargeUpload
from fileflux.ingest.release import Releaser
from fileflux.ingest.sealing import Identity, Sealing
from fileflux.ingest.seals import OpenSeals
from fileflux.ingest.settling import SealAborter, SettlementReader, Settler
from fileflux.ingest.small_uploads import SmallUpload, SmallUploads
from fileflux.ingest.staging import Staging
from fileflux.ingest.upload import Body, Finish, UploadIntent

DRAIN_S: Final = 30.0

Done = TypeVar("Done")


class DirectWriter(Protocol):
    """Changes without bytes go to the database at once, grouped with those that wait too."""

    async def submit(self, change: Change) -> Outcome:
        """Return the outcome; raise MetadataBusy (not applied) or SettlementUnknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDependencies:
    """What the engine is given. Times in seconds."""

    incarnation: Incarnation
    broker: Broker
    reader: SettlementReader
    direct: DirectWriter
    aborter: SealAborter
    view: PlacementView
    staging: Staging
    lane_count: int
    slot_count: int
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.SystemRandom)
    silence_s: float = 0.5
    settle_timeout_s: float = 30.0


class UploadEngine:
    """Make it with `open_engine`, end it with `close`."""

    def __init__(
        self,
        pipeline: Pipeline,
        completions: Completions,
        database_clock: DatabaseClock,
        direct: DirectWriter,
    ) -> None:
        self.pipeline = pipeline
        self.completions = completions
        self.database_clock = database_clock
        self._direct = direct
        self._small = SmallUploads(pipeline)
        self._workers: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[Any]] = set()
        self._writes = 0
        self._no_writes = asyncio.Event()
        self._closing = False
        self._tracer = tracer()

    async def write(self, body: Body, *, intent: UploadIntent, finish: Finish) -> Outcome:
        """Store one upload; return its outcome, which may be a refusal.

        Raise SlowDown or QuorumNotReached when nothing applied, SettlementUnknown when nobody can
        say, and whatever the body raised. A caller that is cancelled after the body's end leaves
        the upload to its fate: it may apply.
        """
        if self._closing:
            raise Unavailable("this ingest is going down")
        self._writes += 1
        try:
            outcome = await self._write(body, intent, finish)
        finally:
            self._writes -= 1
            if not self._writes:
                self._no_writes.set()
        failpoint("ingest.before_answer")
        return outcome

    def start(self) -> None:
        """Start the workers; `open_engine` does."""
        workers = {
            "the lane's consumer": self.completions.run(),
            "the settler": self.pipeline.settler.run(),
            "the releaser": self.pipeline.releaser.run(),
            "the database's clock": self.database_clock.run(),
        }
        for name, work in workers.items():
            self._workers.add(asyncio.create_task(work, name=name))

    def problem(self) -> str | None:
        """Return why the engine does not work any more (a worker ended), None if it does."""
        dead = [task.get_name() for task in self._workers if task.done()]
        return f"{', '.join(dead)} ended" if dead else None

    async def close(self, *, drain_s: float = DRAIN_S) -> None:
        """Refuse new uploads, settle those in flight for at most `drain_s`, end the workers."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._drain()
        self._small.cancel()
        for task in (*self._workers, *self._settling):
            task.cancel()
        await asyncio.gather(*self._workers, *self._settling, return_exceptions=True)
        await self.pipeline.background.close()
        await self.completions.close()

    async def _drain(self) -> None:
        while self._writes:
            self._no_writes.clear()
            await self._no_writes.wait()
        await self._small.close()
        while self._settling:
            await asyncio.wait(tuple(self._settling))

    async def _write(self, body: Body, intent: UploadIntent, finish: Finish) -> Outcome:
        if intent.on_staged is not None or (intent.declared_size or 0) > SMALL_OBJECT_BYTES_MAX:
            return await self._write_large(body, intent, finish)
        pieces, size = await _collect(body)
        if size > SMALL_OBJECT_BYTES_MAX:
            return await self._write_large(_rejoined(pieces, body), intent, finish)
        change = finish(size, Manifest())
        if size == 0:
            return await self._direct.submit(change)
        data = bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()  # The joined copy is enough: the memory of a small upload is bounded.
        upload = SmallUpload(intent, change, data)
        outcome = await self._small.write(upload)
        return answer({} if outcome is None else {intent.upload_id: outcome}, intent.upload_id)

    async def _write_large(self, body: Body, intent: UploadIntent, finish: Finish) -> Outcome:
        first = await _first_piece(body)
        if first is None:
            return await self._direct.submit(finish(0, Manifest()))
        parent = parse_traceparent(intent.traceparent) if self._tracer.is_on else None
        with self._tracer.span("write large upload", parent) as span:
            return await self._write_bundles(_rejoined([first], body), intent, finish, span)

    async def _write_bundles(
        self, body: Body, intent: UploadIntent, finish: Finish, span: Span
    ) -> Outcome:
        upload = LargeUpload(self.pipeline, intent)
        upload.seal.trace = span.context
        record = await upload.stage(body, finish)
        if span:
            describe_seal(span, upload.seal)
        if intent.on_staged is not None:
            await self._tell_staged(upload, intent, record)
        settlement = await self._to_the_end(self.pipeline.settle(upload.seal, record))
        return answer(outcomes_of(settlement), intent.upload_id)

    async def _tell_staged(self, upload: LargeUpload, intent: UploadIntent, record: bytes) -> None:
        assert intent.on_staged is not None
        try:
            await intent.on_staged(upload.seal.seal_id, record)
        except BaseException:
            self.pipeline.forget(upload.seal)
            raise

    async def _to_the_end(self, work: Coroutine[Any, Any, Done]) -> Done:
        """Run `work` even when our caller is cancelled: a published seal has an owner."""
        task = asyncio.create_task(work, name="settle an upload")
        self._settling.add(task)
        task.add_done_callback(self._on_settled)
        return await asyncio.shield(task)

    def _on_settled(self, task: "asyncio.Task[Any]") -> None:
        self._settling.discard(task)
        if not task.cancelled():
            task.exception()  # Looked at: the caller may be gone.


async def open_engine(deps: EngineDependencies) -> UploadEngine:
    """Wire the engine and start its workers: it listens before it may publish anything."""
    lane = lane_of(deps.incarnation, deps.lane_count)
    seals, background = OpenSeals(), Background()
    publisher = await deps.broker.fast_publisher()
    source = await deps.broker.source([(UPLOADS_COMPLETED, lane), (BUNDLES_COMMITTED, lane)])
    database_clock = DatabaseClock(deps.reader, deps.clock)
    releaser = Releaser(deps.staging, seals, clock=deps.clock)
    assigner = Assigner(
        view=deps.view,
        publisher=publisher,
        sources=deps.staging,
        clock=deps.clock,
        lane=lane,
        slot_count=deps.slot_count,
    )
    settler = Settler(
        seals=seals,
        assigner=assigner,
        publisher=publisher,
        reader=deps.reader,
        aborter=deps.aborter,
        background=background,
        clock=deps.clock,
        lane=lane,
        silence_s=deps.silence_s,
        give_up_s=deps.settle_timeout_s,
    )
    sealing = Sealing(
        Identity(deps.incarnation, lane),
        seals=seals,
        clock=deps.clock,
        database_clock=database_clock,
        rng=deps.rng,
        silence_s=deps.silence_s,
    )
    pipeline = Pipeline(
        staging=deps.staging,
        seals=seals,
        sealing=sealing,
        assigner=assigner,
        settler=settler,
        releaser=releaser,
        background=background,
    )
    completions = Completions(
        source,
        seals,
        lane=lane,
        clock=deps.clock,
        on_confirmed=releaser.on_confirmed,
        on_refused=settler.on_refused,
    )
    await completions.start()
    await database_clock.learn()
    engine = UploadEngine(pipeline, completions, database_clock, deps.direct)
    engine.start()
    return engine


async def _collect(body: Body) -> tuple[list[Buffer], int]:
    """Take pieces until the body ends or is larger than small; return them and their size."""
    pieces: list[Buffer] = []
    size = 0
    async for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > SMALL_OBJECT_BYTES_MAX:
            break
    return pieces, size


async def _first_piece(body: Body) -> Buffer | None:
    async for piece in body:
        if piece:
            return piece
    return None


async def _rejoined(pieces: list[Buffer], rest: Body) -> AsyncIterator[Buffer]:
    """Yield what was taken already, without keeping it, then the rest."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()
    async for piece in rest:
        yield piece
