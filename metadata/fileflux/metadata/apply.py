"""The one place that decides what a write does. Pure: rows and changes in, writes and outcomes out.

The materializer asks it for sealed uploads, ingest for changes without bytes. A refusal is an
outcome, never an exception; several changes of one key in a batch see each other in order; what
nobody references any more is garbage in the same transaction; whatever changed an audited row
leaves one audit record with these rows as its effects.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fileflux.core.changes import (
    AbortMultipart,
    AcceptAsync,
    Change,
    CompleteMultipart,
    ConfigureBucket,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateHold,
    CreateKey,
    CreateMultipart,
    CreateUser,
    DeleteBucket,
    DeleteKey,
    DeleteNewer,
    DeleteObject,
    DeleteUser,
    DropContent,
    Outcome,
    PutObject,
    PutPart,
    ReleaseHold,
    RestoreVersion,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.ids import BucketId, UserId
from fileflux.metadata import apply_accounts as accounts
from fileflux.metadata import apply_buckets as buckets
from fileflux.metadata import apply_complete as complete
from fileflux.metadata import apply_holds as holds
from fileflux.metadata import apply_multipart as multipart
from fileflux.metadata import apply_objects as objects
from fileflux.metadata import apply_restore as restore
from fileflux.metadata.audit_facts import OPERATIONS, actor_facts, facts_of
from fileflux.metadata.footprint import footprint
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused
from fileflux.metadata.rows import AuditRecord, Rows, RowWrite, Writes
from fileflux.metadata.seals import AcceptedSeal, SealFacts, live_bundles

NO_BUCKET: Final = BucketId(b"")

_DECISIONS: Final[Mapping[type[Change], Callable[[Overlay, Any], Outcome]]] = {
    PutObject: objects.put_object,
    DeleteObject: objects.delete_object,
    CopyObject: objects.copy_object,
    AcceptAsync: objects.accept_async,
    DropContent: objects.drop_content,
    CreateMultipart: multipart.create_multipart,
    PutPart: multipart.put_part,
    CopyPart: multipart.copy_part,
    CompleteMultipart: complete.complete_multipart,
    AbortMultipart: multipart.abort_multipart,
    CreateBucket: buckets.create_bucket,
    ConfigureBucket: buckets.configure_bucket,
    DeleteBucket: buckets.delete_bucket,
    CreateUser: accounts.create_user,
    SetPassword: accounts.set_password,
    DeleteUser: accounts.delete_user,
    CreateKey: accounts.create_key,
    SetKeyActive: accounts.set_key_active,
    DeleteKey: accounts.delete_key,
    SetNodeIntent: accounts.set_node_intent,
    RestoreVersion: restore.restore_version,
    DeleteNewer: restore.delete_newer,
    CreateHold: holds.create_hold,
    ReleaseHold: holds.release_hold,
}


def apply(
    rows: Rows, changes: Sequence[Change], *, seals: Sequence[AcceptedSeal] = ()
) -> tuple[Writes, tuple[Outcome, ...]]:
    """Return what to store for the changes, and an outcome for each, in their order.

    `rows`: what the transaction loaded for `footprint(changes)`. `seals`: those that brought
    changes of this list; their bundles become live, applied or refused.
    """
    state = Overlay(rows, SealFacts(seals), after_stamp=_after_stamp(changes))
    audit: list[AuditRecord] = []
    outcomes = []
    for change in changes:
        owner = _owner_of(state, change)  # Before it: a bucket may go with the change.
        outcome = _DECISIONS[type(change)](state, change)
        outcomes.append(outcome)
        effects = state.take_effects()
        if effects:
            audit.append(_record(state, change, outcome, effects, owner=owner))
    return _writes(state, audit, seals), tuple(outcomes)


def apply_failed(rows: Rows, changes: Sequence[PutObject], status: str) -> Writes:
    """Return what to store for accepted uploads that end with `status`, whatever they asked for.

    `rows`: with their `async_uploads` and buckets.
    """
    state = Overlay(rows, SealFacts(()))
    audit = []
    for change in changes:
        outcome = refused(change, status)
        objects.settle_async(state, change, outcome)
        owner = _owner_of(state, change)
        audit.append(_record(state, change, outcome, state.take_effects(), owner=owner))
    return _writes(state, audit, ())


def _after_stamp(changes: Sequence[Change]) -> int:
    """Return a stamp that the batch must exceed: what a restore brings back may have left none."""
    told = (change.after_stamp for change in changes if isinstance(change, RestoreVersion))
    return max(told, default=0)


def _owner_of(state: Overlay, change: Change) -> UserId | None:
    """Return whose the change's bucket is: whom its event may be shown to."""
    row = state.buckets.get(getattr(change, "bucket_id", NO_BUCKET))
    return None if row is None else row.owner_id


def _record(
    state: Overlay,
    change: Change,
    outcome: Outcome,
    effects: tuple[RowWrite, ...],
    *,
    owner: UserId | None,
) -> AuditRecord:
    facts = facts_of(change, outcome, state.seals)
    if owner is not None:
        facts["owner"] = owner.hex()
    usage = state.take_usage()
    if usage:
        facts["usage"] = {bucket_id.hex(): list(delta) for bucket_id, delta in usage.items()}
    bucket_id: BucketId | None = getattr(change, "bucket_id", None)
    return AuditRecord(
        record_id=change.upload_id,
        bucket_id=bucket_id,
        bucket=getattr(change, "bucket", ""),
        operation=OPERATIONS[type(change)],
        key=getattr(change, "key", None),
        at_us=change.at_us,
        stamp=state.stamp,
        actor=actor_facts(change.actor),
        facts=facts,
        effects=effects,
    )


def _writes(state: Overlay, audit: list[AuditRecord], seals: Sequence[AcceptedSeal]) -> Writes:
    return Writes(
        stamp=state.stamp,
        rows=state.written,
        bundles_live=live_bundles(seals, state.clock_us),
        floors=list(state.floors.values()),
        garbage_taken=state.garbage.gone(),
        garbage=state.garbage.rows(),
        audit=audit,
        usage=state.usage,
    )


__all__ = ["apply", "apply_failed", "footprint"]
