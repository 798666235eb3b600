"""What becomes of each key when a bucket is restored: pure decisions, one key at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from fileflux.core.changes import Change, DeleteNewer, PastContent, RestoreVersion
from fileflux.core.ids import BucketId, UploadId
from fileflux.metadata.rows import PARTS_READ_MAX, ObjectRow

Kind = Literal["create", "replace", "delete", "kept", "unchanged", "skipped", "impossible"]
KINDS: Final[tuple[Kind, ...]] = (
    "create",
    "replace",
    "delete",
    "kept",
    "unchanged",
    "skipped",
    "impossible",
)
RECORD_BYTES_MAX: Final = 8 << 20
"""Of one restored version's audit record, estimated: half of what the audit topic takes."""
BATCH_BYTES_MAX: Final = 1 << 20
BATCH_KEYS_MAX: Final = 100
SINCE: Final = "it was written or deleted after the restore began"
_ROW_BYTES: Final = 1_000
_CHUNK_BYTES: Final = 38
"""28 bytes of a manifest, as base64."""


@dataclass(frozen=True, slots=True)
class KeyFate:
    """What was done with a key, or would be.

    create, replace: the version of then is the newest one. delete: made later, removed. kept: made
    later, and stays. unchanged: it is what it was. skipped: somebody wrote it after the restore
    began. impossible: see `reason`. `version`: of then, hexadecimal; size and ETag are its own,
    of what is deleted or kept those of now.
    """

    key: bytes
    kind: Kind
    size: int
    etag: str
    version: str
    reason: str = ""

    def but(self, kind: Kind, reason: str) -> "KeyFate":
        return replace(self, kind=kind, reason=reason)


@dataclass(frozen=True, slots=True)
class Target:
    """Where it goes. `began_us`: what is stamped later was written since. `who`: actor and time."""

    bucket_id: BucketId
    bucket: str
    position: int
    after_stamp: int
    began_us: int
    deletes_newer: bool
    who: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """A key's fate; with a change if something is to be done for it. `weight`: bytes of record."""

    fate: KeyFate
    change: Change | None = None
    weight: int = 0


def step_for(
    past: ObjectRow | None,
    now: ObjectRow | None,
    contents: Mapping[UploadId, PastContent],
    *,
    changed_us: int,
    target: Target,
) -> Step | None:
    """Return what is to be done with a key, None if it neither was nor is.

    `changed_us`: the stamp of its last change, as far as the stream tells; of a key that is not
    there that of its deletion.
    """
    if past is None:
        return None if now is None else _newer(now, target)
    if now is not None and is_same(past, now):
        return Step(_fate(past, "unchanged"))
    if (changed_us if now is None else now.stamp) > target.began_us:
        return Step(_fate(past, "skipped", SINCE))
    needed = _needed(past, contents)
    parts = sum(len(content.parts) for content in needed)
    weight = _weight(needed)
    if parts > PARTS_READ_MAX or weight > RECORD_BYTES_MAX:
        reason = f"it has {parts} parts: more than one transaction brings back"
        return Step(_fate(past, "impossible", reason))
    change = _restore(past, now, needed, target, changed_us)
    return Step(_fate(past, "create" if now is None else "replace"), change, weight)


def is_same(past: ObjectRow, now: ObjectRow) -> bool:
    """Tell whether a client could not tell them apart, whatever their versions are called."""
    content = (now.content_id, now.size, now.etag, now.meta)
    return content == (past.content_id, past.size, past.etag, past.meta)


def batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield steps that one transaction takes."""
    waiting: list[Step] = []
    weight = 0
    for step in steps:
        is_full = len(waiting) == BATCH_KEYS_MAX or weight + step.weight > BATCH_BYTES_MAX
        if waiting and is_full:
            yield waiting
            waiting, weight = [], 0
        waiting.append(step)
        weight += step.weight
    if waiting:
        yield waiting


def _newer(now: ObjectRow, target: Target) -> Step:
    if now.stamp > target.began_us:
        return Step(_fate(now, "skipped", SINCE))
    if not target.deletes_newer:
        return Step(_fate(now, "kept"))
    change = DeleteNewer(
        **target.who(),
        bucket_id=target.bucket_id,
        bucket=target.bucket,
        key=now.key,
        seen_version=now.version_id,
        past_position=target.position,
    )
    return Step(_fate(now, "delete"), change, _ROW_BYTES)


def _restore(
    past: ObjectRow,
    now: ObjectRow | None,
    needed: Sequence[PastContent],
    target: Target,
    changed_us: int,
) -> RestoreVersion:
    return RestoreVersion(
        **target.who(),
        bucket_id=target.bucket_id,
        bucket=target.bucket,
        key=past.key,
        size=past.size,
        etag=past.etag,
        meta=past.meta,
        storage_class=past.storage_class,
        manifest=past.manifest,
        content_id=past.content_id,
        contents=tuple(needed),
        seen_version=None if now is None else now.version_id,
        past_version=past.version_id,
        past_position=target.position,
        after_stamp=target.after_stamp,
        seen_stamp=changed_us,
    )


def _needed(past: ObjectRow, contents: Mapping[UploadId, PastContent]) -> list[PastContent]:
    """Return the version's content and what its copied parts hold, as far as it is known."""
    found: dict[UploadId, PastContent] = {}
    waiting = [past.content_id] if past.manifest.chunks or past.manifest.parts else []
    while waiting:
        content = contents.get(waiting.pop())
        if content is None or content.content_id in found:
            continue
        found[content.content_id] = content
        waiting.extend(part.content_id for part in content.parts if part.shared)
    return list(found.values())


def _weight(needed: Sequence[PastContent]) -> int:
    manifests = [content.manifest for content in needed]
    parts = [part.manifest for content in needed for part in content.parts]
    chunks = sum(len(manifest.chunks) for manifest in (*manifests, *parts))
    return _ROW_BYTES * (2 + len(parts)) + _CHUNK_BYTES * chunks


def _fate(row: ObjectRow, kind: Kind, reason: str = "") -> KeyFate:
    return KeyFate(row.key, kind, row.size, row.etag, row.version_id.hex(), reason)
