"""From an event and who wants it to a queued delivery, and from that to what is signed and sent."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fileflux.core.clock import Clock
from fileflux.core.tracing import TRACEPARENT, parse_traceparent
from fileflux.metadata.identity import decrypt_secret
from fileflux.metadata.webhook_rows import LIVE_RUN, QueuedDelivery, Subscription
from fileflux.webhooks.occurrence import Occurrence
from fileflux.webhooks.rendering import Message, render
from fileflux.webhooks.signing import signature_headers

LANE_BYTES: Final = 8
TEST_POSITION: Final = 0
"""Of a test message, which tells of no event."""
REPLAY_HEADER: Final = "fileflux-replay"
ATTEMPT_HEADER: Final = "fileflux-attempt"


def lane_of(key: bytes) -> bytes:
    """Return what orders deliveries of a key: those of one lane go one after another."""
    return hashlib.blake2b(key, digest_size=LANE_BYTES).digest()


def queued(
    subscription: Subscription, occurrence: Occurrence, *, run_id: bytes, now_us: int
) -> QueuedDelivery:
    """Return an event as a delivery to one subscriber. The message's id is the event's."""
    message = render(subscription, occurrence)
    if run_id == LIVE_RUN:
        message = _in_trace(message, occurrence)
    return to_queue(
        subscription,
        message,
        run_id=run_id,
        position=occurrence.position,
        key=occurrence.key,
        message_id=occurrence.event_id,
        event_name=occurrence.name,
        now_us=now_us,
    )


def _in_trace(message: Message, occurrence: Occurrence) -> Message:
    """The receiver may go on with the trace of the request. A replay is no part of it."""
    trace = parse_traceparent(occurrence.actor.get(TRACEPARENT, ""))
    if trace is None:
        return message
    return replace(message, headers={**message.headers, TRACEPARENT: trace.traceparent})


def to_queue(
    subscription: Subscription,
    message: Message,
    *,
    run_id: bytes,
    position: int,
    key: bytes,
    message_id: str,
    event_name: str,
    now_us: int,
) -> QueuedDelivery:
    """Return a rendered message as a delivery."""
    headers = dict(message.headers)
    if run_id != LIVE_RUN and position != TEST_POSITION:
        headers[REPLAY_HEADER] = run_id.hex()
    return QueuedDelivery(
        subscription_id=subscription.subscription_id,
        run_id=run_id,
        position=position,
        lane=lane_of(key),
        message_id=message_id,
        event_name=event_name,
        headers=json.dumps(headers),
        body=message.body,
        attempts=0,
        due_us=now_us,
        queued_us=now_us,
    )


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs attempts with a subscription's secrets, which are encrypted with the master key."""

    master_key: bytes
    clock: Clock

    def headers(self, subscription: Subscription, delivery: QueuedDelivery) -> dict[str, str]:
        """Return every header of the next attempt. Raise FormatInvalid for another master key."""
        now_us = self.clock.now_us()
        return {
            **json.loads(delivery.headers),
            ATTEMPT_HEADER: str(delivery.attempts + 1),
            **signature_headers(
                self._secrets(subscription, now_us),
                message_id=delivery.message_id,
                timestamp_s=now_us // 1_000_000,
                body=delivery.body,
            ),
        }

    def _secrets(self, subscription: Subscription, now_us: int) -> Sequence[str]:
        name = subscription.secret_name
        stored = [subscription.secret]
        if subscription.old_secret is not None and now_us < subscription.old_secret_until_us:
            stored.append(subscription.old_secret)
        return [decrypt_secret(self.master_key, name, one) for one in stored]
