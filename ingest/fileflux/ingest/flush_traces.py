"""What a trace says of a flush: one span for a bundle that many uploads share.

It belongs to the trace of the first recorded upload and is linked to the requests of the others;
in their traces a span of the same length links back to it.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from fileflux.core.changes import Actor
from fileflux.core.ids import BundleId
from fileflux.core.tracing import NO_SPAN, Span, Tracer, parse_traceparent, sampled_of
from fileflux.ingest.assigner import Choice
from fileflux.ingest.seals import OpenSeal

FLUSH: Final = "flush bundle"
SHARED: Final = "share bundle"


@contextmanager
def flush_span(tracer: Tracer, actors: Sequence[Actor]) -> Iterator[Span]:
    """Hold the span of a flush that these asked for; NO_SPAN if none of them is recorded."""
    contexts = sampled_of(parse_traceparent(actor.traceparent) for actor in actors)
    if not contexts:
        yield NO_SPAN
        return
    span = tracer.span(FLUSH, contexts[0], links=contexts[1:])
    links = [] if span.context is None else [span.context]
    with ExitStack() as entered:
        for context in contexts[1:]:
            entered.enter_context(tracer.span(SHARED, context, links=links))
        entered.enter_context(span)  # The last one is the current one.
        span.set("fileflux.uploads", len(actors))
        yield span


def describe_bundle(
    span: Span, seal: OpenSeal, bundle_id: BundleId, choice: Choice, *, size: int
) -> None:
    """Which bundle, and where placement's map says that it goes."""
    span.set("fileflux.bundle.id", bundle_id.hex())
    span.set("fileflux.bundle.size", size)
    span.set("fileflux.placement.epoch", choice.epoch)
    span.set("fileflux.placement.set", choice.set_number)
    span.set("fileflux.nodes", list(choice.nodes))
    describe_seal(span, seal)


def describe_seal(span: Span, seal: OpenSeal) -> None:
    span.set("fileflux.seal.id", seal.seal_id.hex())
    span.set("fileflux.bundles", max(1, len(seal.bundles)))
    span.set("fileflux.storage_class", seal.storage_class.name)
    span.set("fileflux.quorum", seal.storage_class.quorum)
