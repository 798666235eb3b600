"""The span of a transaction: of the first recorded upload's trace, linked to the others'."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from fileflux.core.changes import Change
from fileflux.core.tracing import NO_SPAN, Span, Tracer, parse_traceparent, shared_span
from fileflux.events.traced_publisher import SYSTEM, context_of
from fileflux.metadata.intake import HeldCommit
from fileflux.metadata.pending_seals import PendingSeal
from fileflux.metadata.sealing import Sealing

COMMIT_SEALS: Final = "commit seals"
COMMIT_REPLICAS: Final = "commit replicas"
COMMIT_CHANGES: Final = "commit changes"
DATABASE: Final = "postgresql"


def sealing_span(
    tracer: Tracer, seals: Sequence[PendingSeal], commits: Sequence[HeldCommit]
) -> Span:
    """Begin the span of a transaction of these seals, or of commits that completed none."""
    if not tracer.is_on:
        return NO_SPAN
    records = [*(pending.record for pending in seals), *(held.record for held in commits)]
    contexts = [context_of(record) for record in records]
    name = COMMIT_SEALS if seals else COMMIT_REPLICAS
    span = shared_span(tracer, name, contexts, kind="consumer")
    if span:
        span.set("messaging.system", SYSTEM)
        span.set("messaging.operation.name", "process")
        span.set("messaging.operation.type", "process")
        span.set("messaging.batch.message_count", len(records))
        span.set("db.system.name", DATABASE)
        span.set("fileflux.seals", len(seals))
        span.set("fileflux.replicas", len(commits))
    return span


def describe_sealing(span: Span, sealing: Sealing) -> None:
    """What became of the seals: applied, stored, expired, dead, failed, waiting."""
    for verdict, count in Counter(one.verdict for one in sealing.settled).items():
        span.set(f"fileflux.seals.{verdict}", count)
    if sealing.waiting:
        span.set("fileflux.seals.waiting", len(sealing.waiting))


def direct_span(tracer: Tracer, changes: Sequence[Change]) -> Span:
    """Begin the span of a transaction of changes without bytes."""
    if not tracer.is_on:
        return NO_SPAN
    contexts = [parse_traceparent(change.actor.traceparent) for change in changes]
    span = shared_span(tracer, COMMIT_CHANGES, contexts)
    if span:
        span.set("db.system.name", DATABASE)
        span.set("fileflux.changes", len(changes))
    return span
