"""Outcomes that say no, by S3's codes (IAM's for users and keys), and write conditions."""

from collections.abc import Mapping

from fileflux.core.changes import Change, Outcome
from fileflux.core.model import WriteConditions
from fileflux.metadata.rows import ObjectRow


def refused(change: Change, code: str, detail: str = "") -> Outcome:
    return Outcome(upload_id=change.upload_id, status=code, detail=detail)


def stored(change: Change, row: ObjectRow) -> Outcome:
    """Return the outcome of a change that made `row` the visible version."""
    return Outcome(
        upload_id=change.upload_id,
        version_id=row.version_id,
        etag=row.etag,
        stamp=row.stamp,
        size=row.size,
        checksums=dict(row.meta.checksums),
        checksum_type=row.meta.checksum_type if row.meta.checksums else "",
    )


def condition_failure(row: ObjectRow | None, conditions: WriteConditions) -> str | None:
    """Return the code with which a write's preconditions fail on the visible version, or None."""
    return condition_refusal(None if row is None else row.etag, conditions)


def condition_refusal(etag: str | None, conditions: WriteConditions) -> str | None:
    """Return the same of a version with this ETag; None: there is no version."""
    if conditions.if_match is not None:
        if etag is None:
            return "NoSuchKey"
        if conditions.if_match not in ("*", etag):
            return "PreconditionFailed"
    if (
        conditions.if_none_match is not None
        and etag is not None
        and conditions.if_none_match in ("*", etag)
    ):
        return "PreconditionFailed"
    return None


def same_entries(given: Mapping[str, str], stored_entries: Mapping[str, str]) -> bool:
    """Tell whether every entry given stands in what is stored."""
    return all(stored_entries.get(name) == value for name, value in given.items())
