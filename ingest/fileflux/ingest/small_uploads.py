"""Small uploads share bundles: one file, one assignment per node, one seal for all that waited.

A body joins once it has arrived whole and verified, so a client that breaks off touches nobody
else. A lone upload is flushed at once; while two flushes are in flight, those that come share the
next one, and after a flush those who were answered are waited for a moment (`core.batching`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.batching import Batcher
from fileflux.core.bundle_format import encode_small
from fileflux.core.bundle_records import ChunkEntry, EncodedBundle
from fileflux.core.changes import Outcome
from fileflux.core.ids import BundleId
from fileflux.core.model import (
    BUNDLE_UPLOADS_MAX,
    CHUNK_SIZE_BYTES,
    KIB,
    Chunk,
    Manifest,
    SizeClass,
    StorageClass,
)
from fileflux.core.telemetry import FLUSH_UPLOADS
from fileflux.core.tracing import NO_SPAN, Span, tracer
from fileflux.ingest.flush_traces import describe_bundle, flush_span
from fileflux.ingest.flushing import Pipeline, outcomes_of
from fileflux.ingest.seals import OpenSeal
from fileflux.ingest.upload import (
    StoredChange,
    UploadIntent,
    complete_change,
    seal_size_estimate,
)

FLUSHES_IN_FLIGHT: Final = 2
STALE_AFTER_S: Final = 0.1
GATHER: Final = 0.3
"""Of a flush's duration: so long those who were just answered may take to send their next one."""
FLUSHES_UNSETTLED_MAX: Final = 64
"""Per class. With all of them full, 512 MiB are staged; the staging's budget comes first."""
BUNDLE_BYTES_MAX: Final = CHUNK_SIZE_BYTES
SEAL_BYTES_MAX: Final = 512 * KIB
"""Half of what a Kafka record may have by default."""
_SEAL_WEIGHT: Final = BUNDLE_BYTES_MAX // SEAL_BYTES_MAX
"""One limit for both: a byte of the seal weighs as much as this many bytes of data."""


@dataclass(frozen=True, slots=True)
class SmallUpload:
    """A verified body and its change, not placed yet."""

    intent: UploadIntent
    change: StoredChange
    data: bytes


class SmallUploads:
    """One batcher per storage class."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._tracer = tracer()
        self._batchers: dict[StorageClass, Batcher[SmallUpload, Outcome | None]] = {}

    async def write(self, upload: SmallUpload) -> Outcome | None:
        """Return the upload's outcome, None when its seal was aborted.

        Raise what the flush raised: SlowDown, QuorumNotReached, SettlementUnknown.
        """
        return await self._batcher(upload.intent.storage_class).submit(upload)

    async def close(self) -> None:
        """Return when everything that was taken has settled."""
        for batcher in self._batchers.values():
            await batcher.close()

    def cancel(self) -> None:
        """Stop waiting for what has not settled: it may apply."""
        for batcher in self._batchers.values():
            batcher.cancel()

    def _batcher(self, storage_class: StorageClass) -> Batcher[SmallUpload, Outcome | None]:
        batcher = self._batchers.get(storage_class)
        if batcher is None:
            batcher = self._batchers[storage_class] = Batcher(
                self._flush,
                depth=FLUSHES_IN_FLIGHT,
                items_max=BUNDLE_UPLOADS_MAX,
                weight_max=BUNDLE_BYTES_MAX,
                weigh=_weight,
                stale_after_s=STALE_AFTER_S,
                flushes_max=FLUSHES_UNSETTLED_MAX,
                gather=GATHER,
            )
        return batcher

    async def _flush(self, uploads: Sequence[SmallUpload]) -> list[Outcome | None]:
        FLUSH_UPLOADS.observe(len(uploads))
        if not self._tracer.is_on:
            return await self._write_together(uploads, NO_SPAN)
        with flush_span(self._tracer, [upload.change.actor for upload in uploads]) as span:
            return await self._write_together(uploads, span)

    async def _write_together(
        self, uploads: Sequence[SmallUpload], span: Span
    ) -> list[Outcome | None]:
        seal, record = await self._stage(uploads, span)
        outcomes = outcomes_of(await self._pipeline.settle(seal, record))
        return [outcomes.get(upload.change.upload_id) for upload in uploads]

    async def _stage(self, uploads: Sequence[SmallUpload], span: Span) -> tuple[OpenSeal, bytes]:
        """Stage the bundle and ask its nodes; return the seal and its record."""
        pipeline, sealing = self._pipeline, self._pipeline.sealing
        storage_class = uploads[0].intent.storage_class
        bundle_id = sealing.new_bundle_id()
        choice = pipeline.assigner.choose(bundle_id, storage_class, SizeClass.SMALL)
        seal = sealing.new_seal(storage_class, SizeClass.SMALL)
        seal.trace = span.context
        bundle = encode_bundle(uploads, seal, bundle_id, sealing.now_us())
        if span:
            describe_bundle(span, seal, bundle_id, choice, size=bundle.size)
        with self._tracer.span("stage bundle", span.context):
            await pipeline.staging.create(bundle_id, bundle.parts)
        try:
            pipeline.settler.open(seal)
            pipeline.staged(seal, bundle_id, choice, size=bundle.size, crc=bundle.crc)
            return seal, self._seal_record(seal, bundle_id, uploads)
        except BaseException:
            pipeline.forget(seal)
            await pipeline.staging.delete([bundle_id])
            raise

    def _seal_record(
        self, seal: OpenSeal, bundle_id: BundleId, uploads: Sequence[SmallUpload]
    ) -> bytes:
        now_us = self._pipeline.sealing.now_us()
        changes = [
            complete_change(
                upload.change,
                Manifest((Chunk(bundle_id, number, len(upload.data)),)),
                staged_us=now_us,
                sealed_us=now_us,
            )
            for number, upload in enumerate(uploads)
        ]
        return self._pipeline.sealing.seal_record(seal, changes, now_us)


def encode_bundle(
    uploads: Sequence[SmallUpload], seal: OpenSeal, bundle_id: BundleId, created_us: int
) -> EncodedBundle:
    entries = [
        ChunkEntry(
            upload.intent.chunk_meta(0, upload.intent.record(upload.change, None)), upload.data
        )
        for upload in uploads
    ]
    return encode_small(bundle_id, seal.seal_id, created_us, entries)


def _weight(upload: SmallUpload) -> int:
    return max(len(upload.data), _SEAL_WEIGHT * seal_size_estimate(upload.change))
