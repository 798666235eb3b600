"""A PUT, GET and DELETE through the whole pipeline, by ourselves: does a write work just now?

It gates the start; afterwards it is a metric and `/health/pipeline`, so that a broker's hiccup
takes no reader out of service. Its bucket belongs to root and is kept out of tenants' listings by
being root's.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from fileflux.core.changes import Actor, CreateBucket, DeleteObject, PutObject
from fileflux.core.errors import FileFluxError, NoSuchBucket
from fileflux.core.ids import BucketId, new_id
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.core.telemetry import CANARY_OK, CANARY_SECONDS, get_logger
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.root_user import ROOT_ID, ROOT_NAME
from fileflux.ingest.upload_target import UploadTarget
from fileflux.metadata.rows import BucketRow

log = get_logger(__name__)

BUCKET: Final = "fileflux-canary"
INTERVAL_S: Final = 30.0
RETRY_S: Final = 0.5
DEADLINE_S: Final = 20.0


class Canary:
    """`problem` is None when the last round worked."""

    def __init__(self, deps: Dependencies, *, worker: str) -> None:
        self._deps = deps
        self._key = f"canary/{worker}".encode()
        self.problem: str | None = "the first canary has not come back yet"
        self.has_succeeded = False

    async def run(self) -> None:
        """A round now and then; quickly again while it fails."""
        while True:
            await self.round()
            await self._deps.clock.sleep(INTERVAL_S if self.problem is None else RETRY_S)

    async def round(self) -> None:
        began = self._deps.clock.monotonic_s()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._put_get_delete()
        except (FileFluxError, TimeoutError) as error:
            self.problem = f"a write does not come through: {type(error).__name__} {error}"
            log.info("the canary failed", problem=self.problem)
        except Exception as error:
            # A canary that dies in silence leaves a process that is never ready, and says no why.
            self.problem = f"a write fails for a reason nobody expected: {error!r}"
            log.exception("the canary failed in a way that nobody expected")
        else:
            self.problem = None
            self.has_succeeded = True
            CANARY_SECONDS.set(self._deps.clock.monotonic_s() - began)
        CANARY_OK.set(self.problem is None)

    async def _put_get_delete(self) -> None:
        bucket = await self._bucket()
        body = new_id(self._deps.rng).hex().encode()
        await self._put(bucket, body)
        found = await self._deps.lookup.find(BUCKET, self._key)
        if found.row is None:
            raise NoSuchBucket("the canary's object is not visible after its PUT")
        pieces = await self._deps.objects.open(found, found.row, 0, len(body))
        if b"".join([bytes(piece) async for piece in pieces]) != body:
            raise NoSuchBucket("the canary's object came back with other bytes")
        await self._deps.direct.submit(self._delete(bucket))

    async def _bucket(self) -> BucketRow:
        try:
            return await self._deps.buckets.find(BUCKET)
        except NoSuchBucket:
            change = CreateBucket(
                bucket_id=BucketId(new_id(self._deps.rng)),
                bucket=BUCKET,
                owner_id=ROOT_ID,
                storage_class=self._deps.default_class,
                **self._who(),
            )
            await self._deps.direct.submit(change)
            return await self._deps.buckets.find(BUCKET)

    async def _put(self, bucket: BucketRow, body: bytes) -> None:
        storage_class = self._deps.storage_class(bucket.storage_class)
        target = UploadTarget(
            bucket=bucket, key=self._key, storage_class=storage_class, **self._who()
        )

        def finish(size: int, manifest: Manifest) -> PutObject:
            return target.put_object(size, manifest, etag="canary", meta=ObjectMeta())

        intent = target.intent(len(body))
        outcome = await self._deps.engine.write(_once(body), intent=intent, finish=finish)
        if not outcome.ok:
            raise NoSuchBucket(f"the canary's PUT was refused: {outcome.status}")

    def _delete(self, bucket: BucketRow) -> DeleteObject:
        return DeleteObject(bucket_id=bucket.bucket_id, bucket=BUCKET, key=self._key, **self._who())

    def _who(self) -> dict[str, Any]:
        actor = Actor(ROOT_ID, ROOT_NAME, "", user_agent="fileflux canary")
        deps = self._deps
        return {"upload_id": deps.new_upload_id(), "actor": actor, "at_us": deps.clock.now_us()}


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
