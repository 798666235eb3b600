"""Buckets: made, configured, removed."""

from dataclasses import replace
from typing import Final

from fileflux.core.changes import ConfigureBucket, CreateBucket, DeleteBucket, Outcome
from fileflux.metadata.apply_multipart import abort_upload
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused
from fileflux.metadata.rows import BucketRow

CLASS_ENTRY: Final = "class"
"""The entry of a bucket's configuration that is also its storage class."""


def create_bucket(state: Overlay, change: CreateBucket) -> Outcome:
    """Take the name. The owner is read too, so that a user never goes while its bucket comes."""
    taken_by = state.bucket_names.get(change.bucket)
    if taken_by is not None:
        is_own = state.buckets[taken_by].owner_id == change.owner_id
        return refused(change, "BucketAlreadyOwnedByYou" if is_own else "BucketAlreadyExists")
    if change.bucket_id in state.buckets:
        return refused(change, "OperationAborted", "the bucket id is taken")
    if change.owner_id not in state.users:
        return refused(change, "NoSuchEntity", "the owner does not exist")
    row = BucketRow(
        bucket_id=change.bucket_id,
        name=change.bucket,
        owner_id=change.owner_id,
        storage_class=change.storage_class,
        created_us=change.at_us,
        config=change.config,
        row_stamp=state.stamp,
    )
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def configure_bucket(state: Overlay, change: ConfigureBucket) -> Outcome:
    """Set or remove entries. Without a class entry the bucket keeps the class it has."""
    row = state.buckets.get(change.bucket_id)
    if row is None:
        return refused(change, "NoSuchBucket")
    merged = {**row.config, **change.entries}
    storage_class = change.entries.get(CLASS_ENTRY)
    changed = replace(
        row,
        config={name: value for name, value in merged.items() if value is not None},
        storage_class=storage_class if isinstance(storage_class, str) else row.storage_class,
        row_stamp=state.stamp,
    )
    state.put(changed)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def delete_bucket(state: Overlay, change: DeleteBucket) -> Outcome:
    """Remove an empty bucket. Its open uploads are aborted with it, or later if they are many."""
    row = state.buckets.get(change.bucket_id)
    if row is None:
        return refused(change, "NoSuchBucket")
    if not state.is_empty(change.bucket_id):
        return refused(change, "BucketNotEmpty")
    for upload in state.open_uploads(change.bucket_id):
        abort_upload(state, upload, change.upload_id)
    state.remove(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)
