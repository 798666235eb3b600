"""UploadPartCopy: a part that references slices of a stored version; its bytes are only read.

They are read once for the part's ETag and checksum, which S3's clients compare, and not stored
again: the manifest names (chunk, start, length), and the part becomes a holder of the content.
Bytes of another storage class than the upload's are stored again, as the upload's class wants.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fileflux.core.changes import CopyPart, Outcome, PutPart
from fileflux.core.checksum import Algorithm, Buffer, DigestSet, to_base64
from fileflux.core.errors import NodeUnreachable
from fileflux.core.model import Chunk, Manifest, ObjectMeta
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.copy_object import SOURCE_CHANGES_MAX, find_source
from fileflux.ingest.copy_source import HEADER, parse_copy_source
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.multipart import open_upload
from fileflux.ingest.names import parse_part_number
from fileflux.ingest.put_object import settled
from fileflux.ingest.ranges import COPY_RANGE, ByteRange, parse_copy_range
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.s3_xml import copy_part_result
from fileflux.ingest.upload_target import part_target
from fileflux.metadata.ports import FoundObject
from fileflux.metadata.rows import ObjectRow, UploadRow

PART_BYTES_MAX: Final = 5 << 30


async def upload_part_copy(call: Call, deps: Dependencies) -> Answer:
    """Make a slice of an object a part of an upload."""
    upload = await open_upload(call, deps)
    number = parse_part_number(call.request.param("partNumber"))  # Before 5 GiB are read for it.
    source = parse_copy_source(call.headers[HEADER])
    for _ in range(SOURCE_CHANGES_MAX):
        found, row = await find_source(call, deps, source)
        wanted = parse_copy_range(call.headers.get(COPY_RANGE), row.size)
        if wanted.length > PART_BYTES_MAX:
            raise S3Error("InvalidRequest", "A part may have 5 GiB.")
        outcome = await _copy(call, deps, upload, number, found=found, row=row, wanted=wanted)
        if outcome.status != "SourceChanged":
            outcome = settled(call, deps, outcome)
            return Answer.xml(
                copy_part_result(outcome.etag, outcome.stamp, checksums=outcome.checksums)
            )
    raise S3Error("SlowDown", "The source changes faster than it can be copied.")


async def _copy(
    call: Call,
    deps: Dependencies,
    upload: UploadRow,
    number: int,
    *,
    found: FoundObject,
    row: ObjectRow,
    wanted: ByteRange,
) -> Outcome:
    if deps.storage_class(upload.storage_class).name != row.storage_class:
        return await _put_again(call, deps, upload, number, found=found, row=row, wanted=wanted)
    digests = _Digests(upload)
    async for _ in _read(deps, found, row, wanted, digests):
        pass
    change = CopyPart(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=call.bucket.bucket_id,
        bucket=call.bucket.name,
        key=call.key,
        multipart_id=upload.upload_id,
        part_number=number,
        size=wanted.length,
        etag=digests.etag,
        meta=digests.meta,
        manifest=await slice_of(deps, row, wanted),
        source_bucket_id=row.bucket_id,
        source_key=row.key,
        source_version=row.version_id,
    )
    return await deps.direct.submit(change)


async def _put_again(
    call: Call,
    deps: Dependencies,
    upload: UploadRow,
    number: int,
    *,
    found: FoundObject,
    row: ObjectRow,
    wanted: ByteRange,
) -> Outcome:
    """The upload's class stores it otherwise: write the bytes as a part of their own."""
    target = part_target(call, deps, upload, number)
    digests = _Digests(upload)

    def finish(size: int, manifest: Manifest) -> PutPart:
        return target.put_part(size, manifest, etag=digests.etag, meta=digests.meta)

    async with (
        deps.admission.upload(wanted.length, target.storage_class),
        aclosing(_read(deps, found, row, wanted, digests)) as body,
    ):
        return await deps.engine.write(body, intent=target.intent(wanted.length), finish=finish)


class _Digests:
    """What a part says of its bytes: `etag` and `meta` are there once all were read."""

    def __init__(self, upload: UploadRow) -> None:
        self._algorithm = Algorithm(upload.checksum_algorithm or Algorithm.CRC64NVME)
        self._digests = DigestSet({Algorithm.MD5, self._algorithm})
        self.etag = ""
        self.meta = ObjectMeta()

    async def update(self, piece: Buffer) -> None:
        await self._digests.update(piece)

    async def finish(self) -> None:
        made = await self._digests.finish()
        self.etag = made[Algorithm.MD5].hex()
        checksums = {self._algorithm.value: to_base64(made[self._algorithm])}
        self.meta = ObjectMeta(checksums=checksums)


async def _read(
    deps: Dependencies, found: FoundObject, row: ObjectRow, wanted: ByteRange, digests: _Digests
) -> AsyncGenerator[Buffer, None]:
    """Yield the wanted bytes of a version; at their end the digests are made."""
    if wanted.length:
        body = await deps.objects.open(found, row, wanted.start, wanted.length)
        async with aclosing(body):
            async for piece in body:
                await digests.update(piece)
                yield piece
    await digests.finish()


async def slice_of(deps: Dependencies, row: ObjectRow, wanted: ByteRange) -> Manifest:
    """The chunks of the wanted bytes, the first and the last one cut to measure."""
    chunks, position = [], 0
    for chunk in await _chunks(deps, row):
        start, end = max(wanted.start, position), min(wanted.end, position + chunk.size)
        if start < end:
            begin = chunk.start + start - position
            chunks.append(Chunk(chunk.bundle_id, chunk.number, end - start, begin))
        position += chunk.size
    return Manifest(chunks=tuple(chunks))


async def _chunks(deps: Dependencies, row: ObjectRow) -> list[Chunk]:
    if not row.manifest.parts:
        return list(row.manifest.chunks)
    numbers = [number for number, _ in row.manifest.parts]
    manifests = await deps.reader.part_manifests(row.content_id, numbers)
    if len(manifests) != len(numbers):
        raise NodeUnreachable(f"version {row.version_id.hex()} went while it was copied")
    return [chunk for number in numbers for chunk in manifests[number].chunks]
