"""PutObject, CopyObject, DeleteObject, AcceptAsync: what becomes of a key. And DropContent."""

from dataclasses import replace

from fileflux.core.changes import (
    OK,
    AcceptAsync,
    CopyObject,
    DeleteObject,
    DropContent,
    Outcome,
    PutObject,
)
from fileflux.core.model import ObjectMeta, WriteConditions
from fileflux.metadata.content import drop_object, drop_unheld, hold, make_shared
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import condition_failure, refused, stored
from fileflux.metadata.rows import AsyncRow, ObjectKey, ObjectRow

ACCEPTED = "accepted"
"""The state of an asynchronous upload that is not settled yet."""


def put_object(state: Overlay, change: PutObject) -> Outcome:
    """Make the staged bytes the visible version, once."""
    known = _known_outcome(state, change)
    if known is not None:
        state.discard_staged(change.manifest.chunks, change.upload_id)
        return known
    code = write_refusal(state, (change.bucket_id, change.key), change.conditions)
    if code is None:
        outcome = _store_put(state, change)
    else:
        state.discard_staged(change.manifest.chunks, change.upload_id)
        outcome = refused(change, code)
    settle_async(state, change, outcome)
    return outcome


def write_refusal(state: Overlay, place: ObjectKey, conditions: WriteConditions) -> str | None:
    """Return why nothing may be written at this key, or None."""
    if place[0] not in state.buckets:
        return "NoSuchBucket"
    return condition_failure(state.objects.get(place), conditions)


def replace_object(state: Overlay, row: ObjectRow) -> None:
    """Make `row` the visible version of its key and let go of the one before it."""
    former = state.objects.get((row.bucket_id, row.key))
    state.put(row)
    if former is not None:
        drop_object(state, former, row.version_id)


def _known_outcome(state: Overlay, change: PutObject) -> Outcome | None:
    """Return the outcome of an earlier seal with this very upload, if there was one."""
    row = state.objects.get((change.bucket_id, change.key))
    if row is not None and row.version_id == change.upload_id:
        state.keep(row.manifest.chunks)
        return stored(change, row)
    accepted = state.async_uploads.get(change.upload_id) if change.is_async else None
    if accepted is None or accepted.state == ACCEPTED:
        return None
    if accepted.state != OK:
        return refused(change, accepted.state)
    return stored(change, _row_of(change, accepted.row_stamp))


def _store_put(state: Overlay, change: PutObject) -> Outcome:
    row = _row_of(change, state.stamp)
    state.keep(change.manifest.chunks)
    replace_object(state, row)
    return stored(change, row)


def _row_of(change: PutObject, stamp: int) -> ObjectRow:
    return ObjectRow(
        bucket_id=change.bucket_id,
        key=change.key,
        version_id=change.upload_id,
        stamp=stamp,
        row_stamp=stamp,
        size=change.size,
        etag=change.etag,
        meta=change.meta,
        manifest=change.manifest,
        content_id=change.upload_id,
        storage_class=change.storage_class,
    )


def settle_async(state: Overlay, change: PutObject, outcome: Outcome) -> None:
    """Let an accepted upload's state be its outcome."""
    if not change.is_async:
        return
    accepted = state.async_uploads.get(change.upload_id)
    row = AsyncRow(
        upload_id=change.upload_id,
        bucket_id=change.bucket_id,
        key=change.key,
        state=outcome.status,
        created_us=accepted.created_us if accepted else change.at_us,
        row_stamp=state.stamp,
    )
    state.put(row)


def accept_async(state: Overlay, change: AcceptAsync) -> Outcome:
    """Remember an upload that is answered before it is stored."""
    if change.upload_id in state.async_uploads:
        return Outcome(upload_id=change.upload_id, stamp=state.stamp)
    if change.bucket_id not in state.buckets:
        return refused(change, "NoSuchBucket")
    row = AsyncRow(
        upload_id=change.upload_id,
        bucket_id=change.bucket_id,
        key=change.key,
        state=ACCEPTED,
        created_us=change.at_us,
        row_stamp=state.stamp,
    )
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def delete_object(state: Overlay, change: DeleteObject) -> Outcome:
    """Remove the visible version. Deleting what is not there succeeds."""
    place = (change.bucket_id, change.key)
    code = write_refusal(state, place, change.conditions)
    if code is not None:
        return refused(change, code)
    row = state.objects.get(place)
    if row is not None:
        state.remove(row)
        drop_object(state, row, change.upload_id)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def drop_content(state: Overlay, change: DropContent) -> Outcome:
    """Take content that nobody holds some levels further down."""
    if not drop_unheld(state, change.content_id, change.upload_id):
        return refused(change, "NoSuchContent", "somebody holds it, or it is gone")
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def copy_object(state: Overlay, change: CopyObject) -> Outcome:
    """Make the key share the content of a source version."""
    former = state.objects.get((change.bucket_id, change.key))
    if former is not None and former.version_id == change.upload_id:
        return stored(change, former)
    code = write_refusal(state, (change.bucket_id, change.key), change.conditions)
    if code is not None:
        return refused(change, code)
    source = state.objects.get((change.source_bucket_id, change.source_key))
    if source is None or source.version_id != change.source_version:
        return refused(change, "SourceChanged")
    row = _copy_of(state, source, change)
    if row.shared:
        make_shared(state, source)
        hold(state, source.content_id, row.version_id)
    replace_object(state, row)
    return stored(change, row)


def _copy_of(state: Overlay, source: ObjectRow, change: CopyObject) -> ObjectRow:
    """Return the source under another name. Content of 0 bytes is nobody's to hold."""
    has_content = bool(source.manifest.chunks or source.manifest.parts)
    return replace(
        source,
        bucket_id=change.bucket_id,
        key=change.key,
        version_id=change.upload_id,
        stamp=state.stamp,
        row_stamp=state.stamp,
        meta=_copied_meta(source.meta, change.meta),
        content_id=source.content_id if has_content else change.upload_id,
        shared=has_content,
    )


def _copied_meta(source: ObjectMeta, given: ObjectMeta | None) -> ObjectMeta:
    """Return the copy's metadata. The bytes are the same, and so are their checksums."""
    if given is None:
        return source
    if given.checksums:
        return given
    return replace(given, checksums=source.checksums, checksum_type=source.checksum_type)
