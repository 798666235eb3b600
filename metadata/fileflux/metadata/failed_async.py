"""Accepted uploads of a seal that can never be applied: they are over, and their state says so.

Their clients were told 202 and ask what became of it. What cannot be applied may be any part of the
change, so the record has only what its acceptance had, which was stored before.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fileflux.core.changes import Change, PutObject
from fileflux.core.model import HopTimes, Manifest, ObjectMeta
from fileflux.metadata.apply import apply_failed
from fileflux.metadata.apply_objects import ACCEPTED
from fileflux.metadata.ports import Transaction
from fileflux.metadata.rows import Footprint

FAILED_STATE: Final = "InternalError"
"""What the client hears: S3's code for a fault that is ours."""


async def end_accepted(transaction: Transaction, changes: Sequence[Change]) -> None:
    """Store the end of those changes whose upload was accepted and has no outcome yet."""
    noted = {c.upload_id: c for c in changes if isinstance(c, PutObject) and c.is_async}
    if not noted:
        return
    buckets = frozenset(change.bucket_id for change in noted.values())
    rows = await transaction.load_rows(Footprint(async_ids=frozenset(noted), bucket_ids=buckets))
    over = [
        _bare(noted[row.upload_id]) for row in rows.async_uploads.values() if row.state == ACCEPTED
    ]
    if over:
        await transaction.store_writes(apply_failed(rows, over, FAILED_STATE))


def _bare(change: PutObject) -> PutObject:
    return replace(
        change, etag="", meta=ObjectMeta(), manifest=Manifest(), hops=HopTimes(), storage_class=""
    )
