"""The span of one attempt to deliver, in the trace of the request that made the event.

Host and port of the receiver only: its URL may be a secret, and so may what it answers.
"""

from collections.abc import MutableMapping
from typing import Final

from fileflux.core.tracing import (
    NO_SPAN,
    TRACEPARENT,
    Span,
    parse_traceparent,
    set_server,
    tracer,
)
from fileflux.metadata.webhook_rows import QueuedDelivery, Subscription
from fileflux.webhooks.retry import Result

ATTEMPT: Final = "deliver webhook"
NO_ANSWER: Final = "no_answer"


class DeliveryTraces:
    """Begins and describes the spans of attempts."""

    def __init__(self) -> None:
        self._tracer = tracer()

    def begin(
        self,
        subscription: Subscription,
        delivery: QueuedDelivery,
        headers: MutableMapping[str, str],
    ) -> Span:
        """Begin the attempt's span, if its request is recorded, and put it into `headers`."""
        if not self._tracer.is_on:
            return NO_SPAN
        parent = parse_traceparent(headers.get(TRACEPARENT, ""))
        span = self._tracer.span(ATTEMPT, parent, kind="client")
        if span and span.context is not None:
            headers[TRACEPARENT] = span.context.traceparent
            span.set("http.request.method", "POST")
            span.set("http.request.resend_count", delivery.attempts)
            set_server(span, subscription.url)
            span.set("cloudevents.event_id", delivery.message_id)
            span.set("fileflux.audit.position", delivery.position)
            span.set("fileflux.webhook.id", delivery.subscription_id.hex())
        return span

    def describe(self, span: Span, result: Result) -> None:
        """What came of it."""
        if result.status:
            span.set("http.response.status_code", result.status)
        if result.verdict != "delivered":
            span.fail(str(result.status) if result.status else NO_ANSWER)
