"""Staging in an S3 bucket, for pods without disks. Nodes get presigned URLs.

    <incarnation>/alive             a lease, written again every 10 s
    <incarnation>/<bundle>.bundle
    <incarnation>/<seal>.seal

There are no locks in a bucket. A lease that is older than a minute by the bucket's own clock is
dead, and its heir is whoever replaces that very lease (If-Match): one of several at most.
"""

from collections.abc import Sequence
from typing import Final

from fileflux.core.checksum import Buffer
from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError, Unavailable
from fileflux.core.ids import BundleId, Incarnation, SealId, parse_id
from fileflux.core.model import CHUNK_SIZE_BYTES
from fileflux.core.telemetry import get_logger
from fileflux.ingest.staging import Budget, Inheritance, StagedFile, StagedReader, total_size
from fileflux.ingest.staging_bucket import Bucket
from fileflux.ingest.staging_folder import BUNDLE, NOTE, parse_name

log = get_logger(__name__)

LEASE_REFRESH_S: Final = 10.0
LEASE_LIFE_S: Final = 60.0
CHUNK_MEMORY_BYTES: Final = 2 * CHUNK_SIZE_BYTES
"""A chunk is collected in memory, and copied once on its way into the client."""
_ALIVE: Final = "alive"


class _Folder:
    """One incarnation's keys: what a living owner and an heir have in common."""

    def __init__(self, bucket: Bucket, incarnation: Incarnation) -> None:
        self.incarnation = incarnation
        self._bucket = bucket
        self._prefix = f"{incarnation.hex()}/"

    async def source_url(self, bundle_id: BundleId) -> str:
        return await self._bucket.presign(self._bundle(bundle_id))

    async def keep_note(self, seal_id: SealId, record: bytes) -> None:
        await self._bucket.put(self._note(seal_id), record)

    async def drop_note(self, seal_id: SealId) -> None:
        await self._bucket.delete([self._note(seal_id)])

    async def renew_lease(self, clock: Clock, *, if_match: str | None = None) -> None:
        """Say that somebody lives here. The time makes each lease's ETag another one."""
        body = f"{self.incarnation.hex()} {clock.now_us()} {id(self)}".encode()
        await self._bucket.put(self._prefix + _ALIVE, body, if_match=if_match)

    async def hold_lease(self, clock: Clock) -> None:
        """Renew the lease until cancelled."""
        while True:
            await clock.sleep(LEASE_REFRESH_S)
            try:
                await self.renew_lease(clock)
            except Unavailable as error:
                log.warning("the staging's lease cannot be renewed", problem=str(error))

    def _bundle(self, bundle_id: BundleId) -> str:
        return f"{self._prefix}{bundle_id.hex()}{BUNDLE}"

    def _note(self, seal_id: SealId) -> str:
        return f"{self._prefix}{seal_id.hex()}{NOTE}"


class S3Staging(_Folder):
    """The living incarnation's staging. Make it with `start_s3_staging`."""

    is_durable = True

    def __init__(self, bucket: Bucket, incarnation: Incarnation, *, budget_bytes: int) -> None:
        super().__init__(bucket, incarnation)
        self._budget = Budget(budget_bytes)
        self._sizes: dict[BundleId, int] = {}

    @property
    def used_bytes(self) -> int:
        return self._budget.used_bytes

    @property
    def budget_bytes(self) -> int:
        return self._budget.budget_bytes

    async def create(
        self, bundle_id: BundleId, parts: Sequence[Buffer], *, sync: bool = False
    ) -> None:
        size = total_size(parts)
        self._budget.take(size)
        try:
            await self._bucket.put(self._bundle(bundle_id), b"".join(parts))
        except BaseException:
            self._budget.give_back(size)
            raise
        self._sizes[bundle_id] = size

    def begin(self, bundle_id: BundleId) -> StagedFile:
        return _BufferedFile(self, self._budget, bundle_id)

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        await self._bucket.delete([self._bundle(each) for each in bundle_ids])
        for bundle_id in bundle_ids:
            self._budget.give_back(self._sizes.pop(bundle_id, 0))


class _BufferedFile:
    """A bucket takes objects whole, so a chunk is collected in memory: 8 MiB at most."""

    def __init__(self, staging: S3Staging, budget: Budget, bundle_id: BundleId) -> None:
        self._staging = staging
        self._budget = budget
        self._bundle_id = bundle_id
        self._data = bytearray()
        self._ended = False

    async def append(self, parts: Sequence[Buffer]) -> None:
        self._budget.take(total_size(parts))
        for part in parts:
            self._data += part

    async def finish(self, *, header: bytes, tail: bytes, sync: bool = False) -> None:
        await self.append([tail])
        self._data[: len(header)] = header
        data = self._data
        await self.abandon()
        await self._staging.create(self._bundle_id, [data], sync=sync)

    async def abandon(self) -> None:
        if not self._ended:
            self._ended = True
            self._budget.give_back(len(self._data))
            self._data = bytearray()


class S3Host:
    """The bucket with every incarnation in it."""

    def __init__(self, bucket: Bucket, clock: Clock, *, lease_life_s: float = LEASE_LIFE_S) -> None:
        self._bucket = bucket
        self._clock = clock
        self._lease_life_s = lease_life_s

    async def open(self, incarnation: Incarnation, bundle_id: BundleId) -> StagedReader:
        key = f"{incarnation.hex()}/{bundle_id.hex()}{BUNDLE}"
        return _S3Reader(self._bucket, key, await self._bucket.size(key))

    async def adopt(self) -> Inheritance | None:
        for name in await self._bucket.folders():
            heir = await self._try(name)
            if heir is not None:
                return heir
        return None

    async def _try(self, name: str) -> "S3Inheritance | None":
        try:
            incarnation = Incarnation(parse_id(name))
            etag, age_s = await self._bucket.lease(f"{name}/{_ALIVE}")
            if age_s <= self._lease_life_s:
                return None
            heir = S3Inheritance(self._bucket, incarnation, self._clock)
            await heir.renew_lease(self._clock, if_match=etag)
        except (ValueError, FileFluxError):
            return None  # Not ours, being discarded, or another heir was faster.
        await heir.look()
        return heir


class _S3Reader:
    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self.size = size

    async def read(self, start: int, length: int) -> bytes:
        return await self._bucket.get(self._key, start, min(length, self.size - start))

    def close(self) -> None:
        """Nothing is held open in a bucket."""


class S3Inheritance(_Folder):
    """A dead incarnation's keys, whose lease is ours."""

    def __init__(self, bucket: Bucket, incarnation: Incarnation, clock: Clock) -> None:
        super().__init__(bucket, incarnation)
        self._clock = clock
        self.bundle_ids: Sequence[BundleId] = ()

    async def look(self) -> None:
        self.bundle_ids = [BundleId(raw) for raw in await self._ids(BUNDLE)]

    async def read_notes(self) -> dict[SealId, bytes]:
        ids = [SealId(raw) for raw in await self._ids(NOTE)]
        return {seal_id: await self._whole(self._note(seal_id)) for seal_id in ids}

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        await self._bucket.delete([self._bundle(each) for each in bundle_ids])
        await self.look()

    async def hold(self) -> None:
        await self.hold_lease(self._clock)

    async def discard(self) -> None:
        keys = await self._bucket.keys(self._prefix)
        # The lease goes last: until then nobody else may take what is left.
        await self._bucket.delete([key for key in keys if not key.endswith(_ALIVE)])
        await self._bucket.delete([self._prefix + _ALIVE])

    async def _whole(self, key: str) -> bytes:
        return await self._bucket.get(key, 0, await self._bucket.size(key))

    async def _ids(self, suffix: str) -> list[bytes]:
        keys = await self._bucket.keys(self._prefix)
        names = [key[len(self._prefix) : -len(suffix)] for key in keys if key.endswith(suffix)]
        return [raw for name in names if (raw := parse_name(name))]


async def start_s3_staging(
    bucket: Bucket, incarnation: Incarnation, *, budget_bytes: int, clock: Clock
) -> S3Staging:
    """Take a fresh incarnation's lease. Its owner runs `hold_lease`."""
    staging = S3Staging(bucket, incarnation, budget_bytes=budget_bytes)
    await staging.renew_lease(clock)
    return staging
