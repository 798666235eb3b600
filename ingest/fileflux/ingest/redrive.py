"""Drive an accepted asynchronous upload to its end, whatever happened to its first seal.

The client was told 202: the bytes are durable here, and `async_uploads` knows the upload. Its seal
may have settled, be lost, or still be on its way, so it is first settled for certain (as aborted,
unless it was faster), and only then a new one is made, with the same bundles and the same change.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import EventInvalid, FileFluxError
from fileflux.core.ids import SealId, UploadId
from fileflux.core.model import StorageClass
from fileflux.core.telemetry import get_logger
from fileflux.events.codec import decode_events
from fileflux.events.schema import UploadsSealed
from fileflux.ingest.flushing import NOT_APPLIED, Pipeline
from fileflux.ingest.seals import OpenSeal, SourceUrls
from fileflux.ingest.settling import SealAborter
from fileflux.ingest.staging import SealNotes
from fileflux.ingest.upload import StoredChange
from fileflux.metadata.rows import Settlement
from fileflux.metadata.seals import BUNDLE_DEAD

log = get_logger(__name__)

RETRY_S_MIN: Final = 0.5
RETRY_S_MAX: Final = 30.0


class AsyncStates(Protocol):
    """The part of `MetadataReader` that knows accepted uploads."""

    async def find_async(self, upload_id: UploadId) -> str | None:
        """Return `accepted`, `ok` or an error code; None: it was never accepted."""


class NotedStaging(SealNotes, SourceUrls, Protocol):
    """Where the bundles and the notes of their seals lie: our staging, or an inherited one."""


class Redriver:
    """Settles noted seals, again and again until one of them has an outcome."""

    def __init__(
        self, pipeline: Pipeline, states: AsyncStates, aborter: SealAborter, *, clock: Clock
    ) -> None:
        self._pipeline = pipeline
        self._states = states
        self._aborter = aborter
        self._clock = clock

    async def drive(self, record: bytes, staging: NotedStaging) -> None:
        """Return when the upload of a noted seal is final and its note is gone."""
        event, pause_s = parse_note(record), RETRY_S_MIN
        while not await self._is_final(event):
            opened = await self._note_again(event, staging)
            if opened is not None:
                event = await self._settle(*opened)
            await self._clock.sleep(pause_s)
            pause_s = min(RETRY_S_MAX, pause_s * 2)
        self._pipeline.seals.unwatch([bundle.bundle_id for bundle in event.bundles])
        await staging.drop_note(event.seal_id)

    async def _is_final(self, event: UploadsSealed) -> bool:
        """Settle the seal for certain; return whether nothing is left to do for its upload."""
        pause_s = RETRY_S_MIN
        while True:
            try:
                state = await self._states.find_async(_upload_id(event))
                if state != "accepted":
                    return True  # Never accepted, so nobody was promised anything; or settled.
                settlement = await self._aborter.abort(event.seal_id, [_upload_id(event)])
                return is_final(settlement, event)
            except FileFluxError as error:
                log.info("an accepted upload waits", problem=str(error), **_names(event))
            await self._clock.sleep(pause_s)
            pause_s = min(RETRY_S_MAX, pause_s * 2)

    async def _note_again(
        self, event: UploadsSealed, staging: NotedStaging
    ) -> tuple[OpenSeal, bytes] | None:
        """Make and note a new seal in place of one that settled without effect.

        None: not now. From its note on the new seal is the one that has to settle.
        """
        try:
            seal = self._reopen(event, staging)
        except FileFluxError as error:
            log.info("an accepted upload waits", problem=str(error), **_names(event))
            return None
        try:
            record = self._pipeline.sealing.seal_record(
                seal, stored_changes(event), self._clock.now_us()
            )
            await staging.keep_note(seal.seal_id, record)
            await staging.drop_note(event.seal_id)
        except FileFluxError as error:
            log.info("an accepted upload waits", problem=str(error), **_names(event))
            self._pipeline.seals.close(seal)
            return None
        return seal, record

    async def _settle(self, seal: OpenSeal, record: bytes) -> UploadsSealed:
        for bundle in seal.bundles:
            self._pipeline.assign(bundle)
        event = parse_note(record)
        try:
            await self._pipeline.settle(seal, record)
        except FileFluxError as error:
            log.info("an accepted upload waits", problem=str(error), **_names(event))
        return event

    def _reopen(self, event: UploadsSealed, staging: NotedStaging) -> OpenSeal:
        pipeline = self._pipeline
        storage_class = StorageClass(event.storage_class, event.replicas, event.quorum)
        choices = [
            pipeline.assigner.choose(bundle.bundle_id, storage_class, event.size_class)
            for bundle in event.bundles
        ]
        seal = pipeline.sealing.new_seal(storage_class, event.size_class)
        pipeline.settler.open(seal)
        for sealed, choice in zip(event.bundles, choices, strict=True):
            bundle = pipeline.sealing.watch(
                seal, sealed.bundle_id, choice, size=sealed.size, crc=sealed.crc
            )
            bundle.source = staging
            bundle.attempt = 1  # Nodes may have it from a former seal: they look first.
            bundle.is_held = True
        return seal


def parse_note(record: bytes) -> UploadsSealed:
    """Return the seal of a note; raise EventInvalid."""
    events = decode_events(record)
    event = events[0] if len(events) == 1 else None
    if not isinstance(event, UploadsSealed) or not event.changes:
        raise EventInvalid("a note holds one seal of one upload")
    return event


def stored_changes(event: UploadsSealed) -> Sequence[StoredChange]:
    return [change for change in event.changes if isinstance(change, StoredChange)]


def is_final(settlement: Settlement, event: UploadsSealed) -> bool:
    """Return whether the settlement is an outcome, or one that no new seal can better."""
    for outcome in settlement.outcomes:
        if outcome.upload_id != _upload_id(event):
            continue
        if outcome.status == BUNDLE_DEAD:
            log.error("the bytes of an accepted upload were taken for garbage", **_names(event))
            return True
        return outcome.status not in NOT_APPLIED
    return False


def _upload_id(event: UploadsSealed) -> UploadId:
    return event.changes[0].upload_id


def _names(event: UploadsSealed) -> dict[str, str]:
    return {"upload_id": _upload_id(event).hex(), "seal_id": SealId(event.seal_id).hex()}
