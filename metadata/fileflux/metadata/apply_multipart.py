"""Multipart uploads: made, filled, completed, aborted."""

from dataclasses import replace

from fileflux.core.changes import (
    AbortMultipart,
    CompleteMultipart,
    CopyPart,
    CreateMultipart,
    Outcome,
    PutPart,
)
from fileflux.core.ids import UploadId
from fileflux.metadata.content import drop_part_content, drop_parts, hold, make_shared
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused
from fileflux.metadata.rows import ObjectRow, PartRow, UploadRow, part_holder


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
    code = upload_refusal(state, change)
    if code is not None:
        state.discard_staged(change.manifest.chunks, change.upload_id)
        return refused(change, code)
    row = _part_row(state, change, change.upload_id)
    state.keep(change.manifest.chunks)
    _replace_part(state, row, change.upload_id)
    return _part_outcome(change, row)


def copy_part(state: Overlay, change: CopyPart) -> Outcome:
    """Let a part hold slices of a stored version's content."""
    code = upload_refusal(state, change)
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


OfUpload = PutPart | CopyPart | CompleteMultipart | AbortMultipart


def is_meant(upload: UploadRow, change: OfUpload) -> bool:
    return upload.bucket_id == change.bucket_id and upload.key == change.key


def upload_refusal(state: Overlay, change: OfUpload) -> str | None:
    if change.bucket_id not in state.buckets:
        return "NoSuchBucket"
    return None if _open_upload(state, change) else "NoSuchUpload"


def _open_upload(state: Overlay, change: OfUpload) -> UploadRow | None:
    upload = state.uploads.get(change.multipart_id)
    if upload is None or upload.state != "open" or not is_meant(upload, change):
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
