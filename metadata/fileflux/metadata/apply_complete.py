"""CompleteMultipartUpload: the listed parts become one object, once."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from fileflux.core.changes import CompletedPart, CompleteMultipart, Outcome
from fileflux.core.model import MIB, Manifest
from fileflux.metadata.apply_multipart import is_meant, upload_refusal
from fileflux.metadata.apply_objects import replace_object, write_refusal
from fileflux.metadata.content import drop_parts
from fileflux.metadata.multipart_checksum import (
    WholeChecksum,
    claim_holds,
    multipart_etag,
    whole_checksum,
)
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused, same_entries, stored
from fileflux.metadata.rows import ObjectRow, PartRow, UploadRow

PART_SIZE_BYTES_MIN: Final = 5 * MIB
"""S3's: of every part but the last."""


def complete_multipart(state: Overlay, change: CompleteMultipart) -> Outcome:
    """Make the listed parts one object; the others are garbage."""
    upload = state.uploads.get(change.multipart_id)
    if upload is not None and upload.outcome is not None and is_meant(upload, change):
        return replace(upload.outcome, upload_id=change.upload_id)
    code = upload_refusal(state, change)
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
