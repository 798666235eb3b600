"""Multipart uploads: made, filled, completed, aborted."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from fileflux.core.changes import (
    AbortMultipart,
    CompletedPart,
    CompleteMultipart,
    CopyPart,
    CreateMultipart,
    Outcome,
    PutPart,
)
from fileflux.core.ids import UploadId
from fileflux.core.model import MIB, Manifest
from fileflux.metadata.apply_objects import replace_object, write_refusal
from fileflux.metadata.content import drop_part_content, drop_parts, hold, make_shared
from fileflux.metadata.multipart_checksum import (
    WholeChecksum,
    claim_holds,
    multipart_etag,
    whole_checksum,
)
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused, same_entries, stored
from fileflux.metadata.rows import ObjectRow, PartRow, UploadRow, part_holder

PART_SIZE_BYTES_MIN: Final = 5 * MIB
"""S3's: of every part but the last."""


def create_multipart(state: Overlay, change: CreateMultipart) -> Outcome:
    if change.bucket_id not in state.buckets:
        return refused(change, "NoSuchBucket")
    if change.upload_id in state.uploads:
        return refused(change, "OperationAborted", "the upload id is taken")
    row = UploadRow(
        upload_id=change.upload_id,
        bucket_id=change.bucket_id,
        key=change.key,
        meta=change.meta,
        storage_class=change.storage_class,
        checksum_algorithm=change.checksum_algorithm,
        checksum_type=change.checksum_type,
        created_us=change.at_us,
        state="open",
        owner_id=change.actor.user_id,
        row_stamp=state.stamp,
    )
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def put_part(state: Overlay, change: PutPart) -> Outcome:
    """Take a staged part in, unless its upload was completed or aborted meanwhile."""
    known = state.part(change.multipart_id, change.part_number)
    if known is not None and known.content_id == change.upload_id:
        state.keep(known.manifest.chunks)
        state.discard_staged(change.manifest.chunks, change.upload_id)
        return _part_outcome(change, known)
    code = _upload_refusal(state, change)
    if code is not None:
        state.discard_staged(change.manifest.chunks, change.upload_id)
        return refused(change, code)
    row = _part_row(state, change, change.upload_id)
    state.keep(change.manifest.chunks)
    _replace_part(state, row, change.upload_id)
    return _part_outcome(change, row)


def copy_part(state: Overlay, change: CopyPart) -> Outcome:
    """Let a part hold slices of a stored version's content."""
    code = _upload_refusal(state, change)
    if code is not None:
        return refused(change, code)
    source = state.objects.get((change.source_bucket_id, change.source_key))
    if source is None or source.version_id != change.source_version:
        return refused(change, "SourceChanged")
    return _part_outcome(change, _store_copied_part(state, change, source))


def _store_copied_part(state: Overlay, change: CopyPart, source: ObjectRow) -> PartRow:
    if not change.manifest.chunks:
        row = _part_row(state, change, change.upload_id)
        _replace_part(state, row, change.upload_id)
        return row
    # The former part goes first: it may hold the same content under the very name of the new one.
    # The source is a holder before that, so the content does not go with it.
    make_shared(state, source)
    row = replace(_part_row(state, change, source.content_id), shared=True)
    _replace_part(state, row, change.upload_id)
    hold(state, source.content_id, part_holder(change.multipart_id, change.part_number))
    return row


def complete_multipart(state: Overlay, change: CompleteMultipart) -> Outcome:
    """Make the listed parts one object; the others are garbage."""
    upload = state.uploads.get(change.multipart_id)
    if upload is not None and upload.outcome is not None and _is_meant(upload, change):
        return replace(upload.outcome, upload_id=change.upload_id)
    code = _upload_refusal(state, change)
    if code is not None or upload is None:
        return refused(change, code or "NoSuchUpload")
    code = write_refusal(state, (change.bucket_id, change.key), change.conditions)
    if code is not None:
        return refused(change, code)
    listed = [state.part(upload.upload_id, part.part_number) for part in change.parts]
    code, detail = _list_refusal(change.parts, listed)
    if code:
        return refused(change, code, detail)
    return _complete(state, change, upload, [part for part in listed if part is not None])


def abort_multipart(state: Overlay, change: AbortMultipart) -> Outcome:
    """Drop an upload and its parts, also one that its bucket has left behind."""
    upload = _open_upload(state, change)
    if upload is None:
        has_bucket = change.bucket_id in state.buckets
        return refused(change, "NoSuchUpload" if has_bucket else "NoSuchBucket")
    abort_upload(state, upload, change.upload_id)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def abort_upload(state: Overlay, upload: UploadRow, by: UploadId) -> None:
    """Drop an open upload's parts. Its row stays, so that a late part finds it aborted."""
    drop_parts(state, state.parts_of(upload.upload_id), by)
    state.put(replace(upload, state="aborted", row_stamp=state.stamp))


_OfUpload = PutPart | CopyPart | CompleteMultipart | AbortMultipart


def _is_meant(upload: UploadRow, change: _OfUpload) -> bool:
    return upload.bucket_id == change.bucket_id and upload.key == change.key


def _upload_refusal(state: Overlay, change: _OfUpload) -> str | None:
    if change.bucket_id not in state.buckets:
        return "NoSuchBucket"
    return None if _open_upload(state, change) else "NoSuchUpload"


def _open_upload(state: Overlay, change: _OfUpload) -> UploadRow | None:
    upload = state.uploads.get(change.multipart_id)
    if upload is None or upload.state != "open" or not _is_meant(upload, change):
        return None
    return upload


def _part_row(state: Overlay, change: PutPart | CopyPart, content_id: UploadId) -> PartRow:
    return PartRow(
        upload_id=change.multipart_id,
        part_number=change.part_number,
        size=change.size,
        etag=change.etag,
        meta=change.meta,
        manifest=change.manifest,
        content_id=content_id,
        modified_us=state.clock_us,
        row_stamp=state.stamp,
    )


def _replace_part(state: Overlay, row: PartRow, by: UploadId) -> None:
    former = state.part(row.upload_id, row.part_number)
    state.put(row)
    if former is not None:
        drop_part_content(state, former, by)


def _part_outcome(change: PutPart | CopyPart, row: PartRow) -> Outcome:
    return Outcome(
        upload_id=change.upload_id,
        etag=row.etag,
        stamp=row.row_stamp,
        size=row.size,
        checksums=dict(row.meta.checksums),
    )


def _list_refusal(
    wanted: Sequence[CompletedPart], found: Sequence[PartRow | None]
) -> tuple[str, str]:
    """Return (code, detail) for a list of parts that cannot be completed, else two empty texts."""
    if not wanted:
        return "MalformedXML", "no parts are listed"
    numbers = [part.part_number for part in wanted]
    if any(after <= before for before, after in pairwise(numbers)):
        return "InvalidPartOrder", ""
    for part, row in zip(wanted, found, strict=True):
        if row is None or part.etag != row.etag or not _is_same(part, row):
            return "InvalidPart", f"part {part.part_number}"
    for row in found[:-1]:
        if row is not None and row.size < PART_SIZE_BYTES_MIN:
            return "EntityTooSmall", f"part {row.part_number} has {row.size} bytes"
    return "", ""


def _is_same(part: CompletedPart, row: PartRow) -> bool:
    return same_entries(part.checksums, row.meta.checksums)


def _complete(
    state: Overlay, change: CompleteMultipart, upload: UploadRow, parts: Sequence[PartRow]
) -> Outcome:
    size = sum(part.size for part in parts)
    if change.object_size is not None and change.object_size != size:
        return refused(change, "InvalidRequest", f"the parts have {size} bytes")
    if upload.checksum_type and change.checksum_type not in ("", upload.checksum_type):
        return refused(change, "InvalidRequest", "the upload has another checksum type")
    whole = whole_checksum(
        parts,
        algorithm=upload.checksum_algorithm,
        kind=upload.checksum_type or change.checksum_type,
        claimed=change.checksums,
    )
    if not claim_holds(change.checksums, whole):
        return refused(change, "BadDigest", "the object's checksum is another one")
    return _store_whole(state, change, upload, parts, whole)


def _store_whole(
    state: Overlay,
    change: CompleteMultipart,
    upload: UploadRow,
    parts: Sequence[PartRow],
    whole: WholeChecksum | None,
) -> Outcome:
    numbers = {part.part_number for part in parts}
    others = [p for p in state.parts_of(upload.upload_id) if p.part_number not in numbers]
    drop_parts(state, others, change.upload_id)
    row = _whole_row(state, change, upload, parts, whole)
    replace_object(state, row)
    outcome = stored(change, row)
    state.put(replace(upload, state="completed", outcome=outcome, row_stamp=state.stamp))
    return outcome


def _whole_row(
    state: Overlay,
    change: CompleteMultipart,
    upload: UploadRow,
    parts: Sequence[PartRow],
    whole: WholeChecksum | None,
) -> ObjectRow:
    meta = replace(
        upload.meta,
        checksums={whole.algorithm: whole.value} if whole else {},
        checksum_type=whole.kind if whole else upload.meta.checksum_type,
    )
    return ObjectRow(
        bucket_id=change.bucket_id,
        key=change.key,
        version_id=change.upload_id,
        stamp=state.stamp,
        row_stamp=state.stamp,
        size=sum(part.size for part in parts),
        etag=multipart_etag(parts),
        meta=meta,
        manifest=Manifest(parts=tuple((part.part_number, part.size) for part in parts)),
        content_id=upload.upload_id,
        storage_class=upload.storage_class,
    )
