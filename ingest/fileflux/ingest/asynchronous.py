"""`Prefer: respond-async`: accepted once the bytes survive a power cut here, settled afterwards.

In this order: bundles synced, the seal noted beside them and synced, `async_uploads` written. Then
202 is true: whoever owns these files, we or an heir, drives the upload to its end. The upload's id
is the idempotency key, and its state is updated by the transaction that makes it visible.
"""

import asyncio
from dataclasses import replace
from typing import Protocol

from fileflux.core.changes import AcceptAsync, Outcome, PutObject
from fileflux.core.errors import FileFluxError, NotFound, SettlementUnknown, Unavailable
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import SealId, UploadId
from fileflux.core.model import Manifest
from fileflux.core.telemetry import get_logger
from fileflux.ingest.background import Background
from fileflux.ingest.bundler import DirectWriter, UploadEngine
from fileflux.ingest.redrive import AsyncStates, NotedStaging, Redriver, parse_note
from fileflux.ingest.staging import Staging
from fileflux.ingest.upload import Body, Finish, StoredChange, UploadIntent

log = get_logger(__name__)


class StagingWithNotes(Staging, NotedStaging, Protocol):
    """A staging that can also remember seals."""


class _Refused(FileFluxError):
    """The upload was not accepted; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.status)
        self.outcome = outcome


class AsyncUploads:
    """Accepts uploads. Close it before the engine: what is not settled stays for the next owner."""

    def __init__(
        self,
        engine: UploadEngine,
        *,
        staging: StagingWithNotes,
        direct: DirectWriter,
        states: AsyncStates,
        redriver: Redriver,
        outlives_us: bool = True,
    ) -> None:
        """`outlives_us`: whether staging is still there after this host or pod is gone."""
        self._engine = engine
        self._outlives_us = outlives_us
        self._staging = staging
        self._direct = direct
        self._states = states
        self._redriver = redriver
        self._background = Background()

    @property
    def is_available(self) -> bool:
        """Whether this ingest may promise anything before the nodes have it."""
        return self._outlives_us and self._staging.is_durable

    async def accept(self, body: Body, *, intent: UploadIntent, finish: Finish) -> Outcome:
        """Return the acceptance (or its refusal, or the outcome of an empty body).

        Raises as `UploadEngine.write` does, and what the body raises, before anything is promised.
        """
        if not self.is_available:
            raise Unavailable("this staging does not survive a power cut")
        acceptance: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        upload = _Acceptance(self._staging, self._direct, intent, finish, acceptance)
        self._background.spawn(self._write(body, upload), name="an asynchronous upload")
        return await asyncio.shield(acceptance)

    async def state(self, upload_id: UploadId) -> str:
        """Return `accepted`, `ok` or the error code it settled with; raise NotFound."""
        state = await self._states.find_async(upload_id)
        if state is None:
            raise NotFound(f"no upload {upload_id.hex()} was accepted")
        return state

    async def close(self) -> None:
        """Stop driving. What was accepted is noted, and driven by whoever comes next."""
        await self._background.close()

    async def _write(self, body: Body, upload: "_Acceptance") -> None:
        intent = replace(upload.intent, on_staged=upload.on_staged)
        try:
            outcome = await self._engine.write(body, intent=intent, finish=upload.finish)
        except _Refused as refusal:
            upload.answer(refusal.outcome)
        except FileFluxError as error:
            upload.fail(error)
            if upload.note is not None:
                await self._redriver.drive(upload.note, self._staging)
                await self._let_go(upload.note)
        except BaseException as error:
            # Cancelled, or our bug: what was accepted stays noted, and an heir drives it.
            upload.fail(error)
            raise
        else:
            upload.answer(outcome)
            if upload.note is not None:
                event = parse_note(upload.note)
                await self._staging.drop_note(event.seal_id)
                await self._let_go(upload.note)

    async def _let_go(self, note: bytes) -> None:
        """The upload is final: its staged bytes may go."""
        bundle_ids = [bundle.bundle_id for bundle in parse_note(note).bundles]
        self._engine.pipeline.seals.unwatch(bundle_ids)
        await self._staging.delete(bundle_ids)


class _Acceptance:
    """One upload on its way to being accepted."""

    def __init__(
        self,
        staging: StagingWithNotes,
        direct: DirectWriter,
        intent: UploadIntent,
        finish: Finish,
        acceptance: "asyncio.Future[Outcome]",
    ) -> None:
        self.intent = intent
        self.note: bytes | None = None
        self._staging = staging
        self._direct = direct
        self._finish = finish
        self._acceptance = acceptance
        self._change: StoredChange | None = None

    def finish(self, size: int, manifest: Manifest) -> StoredChange:
        change = self._finish(size, manifest)
        assert isinstance(change, PutObject), "parts are not accepted asynchronously"
        # An empty body is a direct change: it is done before anybody could ask.
        self._change = replace(change, is_async=size > 0)
        return self._change

    async def on_staged(self, seal_id: SealId, record: bytes) -> None:
        """Everything is synced: note the seal, then accept. If it raises, nothing was accepted."""
        await self._staging.keep_note(seal_id, record)
        failpoint("ingest.before_accept")
        try:
            outcome = await self._direct.submit(self._acceptance_change())
        except SettlementUnknown as error:
            # Accepted or not, nobody can say: the client hears that, and the upload goes on.
            self.fail(error)
        except FileFluxError:
            await self._staging.drop_note(seal_id)
            raise
        else:
            if not outcome.ok:
                await self._staging.drop_note(seal_id)
                raise _Refused(outcome)
            self.answer(outcome)
        failpoint("ingest.after_accept")
        self.note = record

    def answer(self, outcome: Outcome) -> None:
        if not self._acceptance.done():
            self._acceptance.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        if self._acceptance.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self._acceptance.cancel()
        else:
            self._acceptance.set_exception(error)

    def _acceptance_change(self) -> AcceptAsync:
        change = self._change
        assert isinstance(change, PutObject)
        return AcceptAsync(
            upload_id=change.upload_id,
            actor=change.actor,
            at_us=change.at_us,
            bucket_id=change.bucket_id,
            bucket=change.bucket,
            key=change.key,
            size=change.size,
        )
