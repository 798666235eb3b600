"""Which uploads become objects again, and in which order. Pure.

Of one key the latest whole upload wins: by when its last bundle was finished, by its place in it,
by its request's time, by its id. A write with conditions lost if they fail on a version that was
made about when its request came. One that was there long before would have refused it before its
body: it must have been deleted since. An upload in parts is taken for completed when its parts look
like it: numbered from 1 without gaps, all but the last large enough.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.bundle_records import UploadRecord
from fileflux.core.ids import BucketId, UploadId
from fileflux.metadata.apply_complete import PART_SIZE_BYTES_MIN
from fileflux.metadata.multipart_checksum import etag_of_etags
from fileflux.metadata.refusals import condition_refusal
from fileflux.metadata.rows import ObjectKey, ObjectRow, PartRow, UploadRow
from fileflux.metadata.salvage_findings import Findings, key_text
from fileflux.metadata.salvage_uploads import FoundUpload, Order

LATE_US: Final = 3_600_000_000
"""An upload whose last bundle is older than the stream's end by this much would stand in it."""
RACE_US: Final = 2_000_000
"""What was made so long before a request was visible when its conditions were first looked at."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What an audit stream told before the nodes are asked. Empty without one.

    `bucket_names`: of the buckets that are there. `bucket_gone`: that were deleted. `seen`: uploads
    that it names, whatever came of them. `accepted`: those that were answered with 202.
    `deleted_us`: when keys of uploads were last deleted. `end_us`: the stamp of its last record.
    """

    bucket_names: dict[BucketId, str] = field(default_factory=dict)
    bucket_gone: set[BucketId] = field(default_factory=set)
    seen: set[UploadId] = field(default_factory=set)
    accepted: set[UploadId] = field(default_factory=set)
    deleted_us: dict[ObjectKey, int] = field(default_factory=dict)
    end_us: int = 0
    objects: dict[ObjectKey, ObjectRow] = field(default_factory=dict)
    uploads: dict[UploadId, UploadRow] = field(default_factory=dict)
    parts: dict[UploadId, dict[int, PartRow]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewBucket:
    """A bucket that must be there before its uploads. `created_us`: its first upload's time."""

    bucket_id: BucketId
    name: str
    storage_class: str
    created_us: int


@dataclass(frozen=True, slots=True)
class SalvagedMultipart:
    """`parts`: those to store, by number. `listed`: (number, ETag) of all, if it is completed."""

    multipart_id: UploadId
    parts: tuple[FoundUpload, ...]
    listed: tuple[tuple[int, str], ...]
    is_new: bool
    order: Order


Write = FoundUpload | SalvagedMultipart


@dataclass(slots=True)
class Plan:
    """`writes`: in the order of their time."""

    buckets: list[NewBucket] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)


def newer_uploads(
    uploads: Iterable[FoundUpload], known: Known, findings: Findings
) -> list[FoundUpload]:
    """Return the uploads that the audit stream does not tell already."""
    newer = []
    for upload in uploads:
        if upload.upload_id in known.seen:
            continue
        is_late = upload.at_us < known.end_us - LATE_US
        if known.end_us and is_late and upload.upload_id not in known.accepted:
            if upload.is_whole:
                _note(findings, "not_in_stream", upload)
            continue
        newer.append(upload)
    return newer


def make_plan(
    uploads: Sequence[FoundUpload], known: Known, findings: Findings, *, assembles: bool = True
) -> Plan:
    """Return what to write. `uploads`: those that are newer than what is known.

    `assembles`: take multipart uploads that look complete for completed.
    """
    plan = Plan()
    kept = _in_buckets(uploads, known, plan, findings)
    keys: dict[ObjectKey, list[Write]] = {}
    parts: dict[UploadId, list[FoundUpload]] = {}
    for upload in kept:
        if upload.meta.multipart_id is not None:
            parts.setdefault(upload.meta.multipart_id, []).append(upload)
        else:
            keys.setdefault((upload.meta.bucket_id, upload.meta.key), []).append(upload)
    for multipart_id, found in parts.items():
        whole = _multipart(multipart_id, found, known, findings, assembles=assembles)
        if whole is not None and whole.listed:
            meta = whole.parts[0].meta
            keys.setdefault((meta.bucket_id, meta.key), []).append(whole)
        elif whole is not None:
            plan.writes.append(whole)
    for place, candidates in keys.items():
        stored, deleted_us = known.objects.get(place), known.deleted_us.get(place, 0)
        winner = _winner(candidates, stored, deleted_us, findings)
        if winner is not None:
            plan.writes.append(winner)
    plan.writes.sort(key=lambda write: write.order)
    return plan


# --- buckets ----------------------------------------------------------------------------------


def _in_buckets(
    uploads: Sequence[FoundUpload], known: Known, plan: Plan, findings: Findings
) -> list[FoundUpload]:
    """Find the bucket of each upload, new ones too; return the uploads whose bucket is there."""
    names = _names(uploads)
    there = dict(known.bucket_names)
    owned = {name: bucket_id for bucket_id, name in there.items()}
    latest = _last_asked_for(uploads)
    for bucket_id in sorted(latest, key=lambda bucket_id: (latest[bucket_id], bucket_id)):
        if bucket_id in there or bucket_id in known.bucket_gone:
            continue
        former = owned.get(names[bucket_id])
        if former in known.bucket_names:
            continue
        if former is not None:  # Ids are never used again: the one before it was deleted, empty.
            del there[former]
        owned[names[bucket_id]] = bucket_id
        there[bucket_id] = names[bucket_id]
    kept = []
    taken = set(known.bucket_names.values())
    for upload in uploads:
        if there.get(upload.meta.bucket_id) == upload.meta.bucket:
            kept.append(upload)
        elif upload.meta.bucket != names[upload.meta.bucket_id]:
            _note(findings, "upload_conflict", upload)
        elif upload.meta.bucket_id in known.bucket_gone or upload.meta.bucket not in taken:
            _note(findings, "bucket_gone", upload)
        else:
            _note(findings, "bucket_taken", upload)
    plan.buckets = _new_buckets(kept, known)
    return kept


def _names(uploads: Sequence[FoundUpload]) -> dict[BucketId, str]:
    """Return each bucket's name; should records differ, what most of them say."""
    said: dict[BucketId, Counter[str]] = {}
    for upload in uploads:
        said.setdefault(upload.meta.bucket_id, Counter())[upload.meta.bucket] += 1
    return {bucket_id: max(sorted(c), key=c.__getitem__) for bucket_id, c in said.items()}


def _last_asked_for(uploads: Sequence[FoundUpload]) -> dict[BucketId, tuple[int, int]]:
    """Return when each bucket's last upload was asked for: then the bucket was still there.

    Its bytes may have come long after that, when another bucket had its name.
    """
    latest: dict[BucketId, tuple[int, int]] = {}
    for upload in uploads:
        asked_us = 0 if upload.record is None else upload.record.at_us
        known = latest.get(upload.meta.bucket_id, (0, 0))
        latest[upload.meta.bucket_id] = max(known, (asked_us, upload.at_us))
    return latest


def _new_buckets(uploads: Sequence[FoundUpload], known: Known) -> list[NewBucket]:
    found: dict[BucketId, NewBucket] = {}
    for upload in sorted(uploads, key=lambda upload: upload.order):
        meta = upload.meta
        if meta.bucket_id in known.bucket_names or upload.record is None:
            continue
        former = found.get(meta.bucket_id)
        created_us = upload.at_us if former is None else former.created_us
        found[meta.bucket_id] = NewBucket(  # The class of its latest upload.
            meta.bucket_id, meta.bucket, upload.record.storage_class, created_us
        )
    return list(found.values())


# --- keys -------------------------------------------------------------------------------------


def _winner(
    candidates: list[Write], stored: ObjectRow | None, deleted_us: int, findings: Findings
) -> Write | None:
    """Return the last of a key's writes that applies, None if what the stream tells is newer.

    `stored`, `deleted_us`: the object that the stream leaves there, when it deleted one last.
    """
    candidates.sort(key=lambda write: write.order)
    winner: Write | None = None
    etag, since_us = (None, deleted_us) if stored is None else (stored.etag, stored.row_stamp)
    told_us = since_us
    lost: FoundUpload | None = None
    for write in candidates:
        if write.order[0] <= told_us:
            _note(findings, "superseded", _some_upload(write))
            continue
        if isinstance(write, FoundUpload):
            if not write.is_whole:
                lost = write if write.record is not None else lost
                continue
            if _lost_a_race(write.said, etag, since_us):
                _note(findings, "condition_refused", write)
                continue
        if winner is not None:
            _note(findings, "superseded", _some_upload(winner))
        winner, lost = write, None
        etag, since_us = _etag(write), write.order[0]
    if lost is not None and (winner is not None or stored is not None):
        _note(findings, "older_version", lost)
    return winner


def _lost_a_race(record: UploadRecord, etag: str | None, since_us: int) -> bool:
    """Whether an upload was refused by its conditions, by a version that was made at `since_us`."""
    was_seen_before = since_us + RACE_US <= record.at_us
    return not was_seen_before and condition_refusal(etag, record.conditions) is not None


def _etag(write: Write) -> str:
    if isinstance(write, SalvagedMultipart):
        return etag_of_etags([etag for _, etag in write.listed])
    return write.said.etag


def _some_upload(write: Write) -> FoundUpload:
    return write if isinstance(write, FoundUpload) else write.parts[0]


# --- multipart uploads ------------------------------------------------------------------------


def _multipart(
    multipart_id: UploadId,
    found: list[FoundUpload],
    known: Known,
    findings: Findings,
    *,
    assembles: bool,
) -> SalvagedMultipart | None:
    upload = known.uploads.get(multipart_id)
    if upload is not None and upload.state != "open":
        return None
    found = _of_one_key(found, findings)
    stored = known.parts.get(multipart_id, {})
    latest = _latest_parts(found, stored)
    parts = tuple(latest[number] for number in sorted(latest))
    if not parts:
        return None
    sizes = {number: row.size for number, row in stored.items()}
    sizes |= {number: part.said.size for number, part in latest.items()}
    listed = _listed(found, latest, stored) if assembles else ()
    if listed:
        last = sizes[len(sizes)]
        told = {
            "parts": len(sizes),
            "size": sum(sizes.values()),
            "last_is_shorter": last < sizes[1],
        }
        _note(findings, "multipart_assumed", parts[0], **told)
    else:
        _note(findings, "multipart_open", parts[0])
    order = max(part.order for part in parts)
    return SalvagedMultipart(multipart_id, parts, listed, upload is None, order)


def _of_one_key(parts: list[FoundUpload], findings: Findings) -> list[FoundUpload]:
    """Return the parts of the key that most of them name; none if as many name another one."""
    named: dict[ObjectKey, list[FoundUpload]] = {}
    for part in parts:
        named.setdefault((part.meta.bucket_id, part.meta.key), []).append(part)
    most, *others = sorted(named.values(), key=lambda same: -len(same))
    if not others:
        return most
    for same in others:
        _note(findings, "upload_conflict", same[0])
    return [] if len(others[0]) == len(most) else most


def _latest_parts(
    found: Iterable[FoundUpload], stored: Mapping[int, PartRow]
) -> dict[int, FoundUpload]:
    latest: dict[int, FoundUpload] = {}
    for part in sorted(found, key=lambda part: part.order):
        known = stored.get(part.meta.part_number)
        if part.is_whole and (known is None or known.row_stamp < part.at_us):
            latest[part.meta.part_number] = part
    return latest


def _listed(
    found: Iterable[FoundUpload],
    latest: Mapping[int, FoundUpload],
    stored: Mapping[int, PartRow],
) -> tuple[tuple[int, str], ...]:
    """Return the parts that a completion would have named; none if it does not look like one."""
    sizes = {number: (row.size, row.etag) for number, row in stored.items()}
    for number, part in latest.items():
        sizes[number] = (part.said.size, part.said.etag)
    numbers = sorted(sizes)
    is_whole = not _lost_parts(found, sizes.keys()) and numbers == list(range(1, len(numbers) + 1))
    if not is_whole or any(sizes[number][0] < PART_SIZE_BYTES_MIN for number in numbers[:-1]):
        return ()
    return tuple((number, sizes[number][1]) for number in numbers)


def _lost_parts(found: Iterable[FoundUpload], there: Collection[int]) -> set[int]:
    """Return the numbers whose latest sealed part is not whole, and those that have none at all.

    An older one in its place would make an object that never was.
    """
    lost = set()
    for part in sorted(found, key=lambda part: part.order):
        number = part.meta.part_number
        if part.is_whole:
            lost.discard(number)
        elif part.record is not None or number not in there:
            lost.add(number)
    return lost


def _note(findings: Findings, kind: str, upload: FoundUpload, **more: object) -> None:
    meta = upload.meta
    findings.note(
        kind,
        bucket=meta.bucket,
        bucket_id=meta.bucket_id,
        key=key_text(meta.key),
        upload=meta.upload_id,
        multipart=meta.multipart_id,
        at_us=upload.at_us,
        **more,
    )
