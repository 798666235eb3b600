"""RestoreVersion, DeleteNewer: a key becomes what it was, unless somebody wrote it meanwhile."""

from fileflux.core.changes import DeleteNewer, Outcome, RestoreVersion
from fileflux.metadata.apply_objects import replace_object
from fileflux.metadata.content import drop_object, hold
from fileflux.metadata.content_back import bring_back, why_gone
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused, stored
from fileflux.metadata.rows import ObjectRow

CONTENT_GONE = "ContentGone"


def restore_version(state: Overlay, change: RestoreVersion) -> Outcome:
    """Make a past version the newest one.

    Its content is shared from now on: what held it besides, once, may be restored as well.
    """
    former = state.objects.get((change.bucket_id, change.key))
    if former is not None and former.version_id == change.upload_id:
        return stored(change, former)
    code = _refusal(state, change)
    if code is not None:
        return refused(change, code)
    row = _restored(state, change)
    if row.shared:
        problem = why_gone(state, change.content_id, change.contents)
        if problem is not None:
            return refused(change, CONTENT_GONE, problem)
        bring_back(state, change.content_id, change.contents)
        hold(state, change.content_id, row.version_id)
    replace_object(state, row)
    return stored(change, row)


def delete_newer(state: Overlay, change: DeleteNewer) -> Outcome:
    """Remove what was made after the moment that is restored."""
    code = _refusal(state, change)
    row = state.objects.get((change.bucket_id, change.key))
    if code is not None or row is None:
        return refused(change, code or "PreconditionFailed")
    state.remove(row)
    drop_object(state, row, change.upload_id)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def _refusal(state: Overlay, change: RestoreVersion | DeleteNewer) -> str | None:
    if change.bucket_id not in state.buckets:
        return "NoSuchBucket"
    row = state.objects.get((change.bucket_id, change.key))
    version = None if row is None else row.version_id
    is_as_seen = version == change.seen_version and not _came_and_went(state, change)
    return None if is_as_seen else "PreconditionFailed"


def _came_and_went(state: Overlay, change: RestoreVersion | DeleteNewer) -> bool:
    """Tell whether a key that was absent, and is, was there in between: its floor is newer."""
    if isinstance(change, DeleteNewer) or change.seen_version is not None:
        return False
    deleted = state.deletions.get((change.bucket_id, change.key), 0)
    return 0 < change.seen_stamp < deleted


def _restored(state: Overlay, change: RestoreVersion) -> ObjectRow:
    return ObjectRow(
        bucket_id=change.bucket_id,
        key=change.key,
        version_id=change.upload_id,
        stamp=state.stamp,
        row_stamp=state.stamp,
        size=change.size,
        etag=change.etag,
        meta=change.meta,
        manifest=change.manifest,
        content_id=change.content_id,
        storage_class=change.storage_class,
        shared=bool(change.manifest.chunks or change.manifest.parts),
    )
