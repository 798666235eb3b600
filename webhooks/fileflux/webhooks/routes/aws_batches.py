"""How messages go to SQS and SNS: ten at a time, by the same rules of both. Pure, but for the call.

A FIFO queue keeps the order of what it accepts. One message of a batch may be refused while the
next one is taken, so of one key a batch has one message: the next follows when it is acknowledged.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from fileflux.webhooks.routes.destination import Outcome, RoutedMessage, one_line

BATCH_MESSAGES: Final = 10
BATCH_BYTES: Final = 256 * 1024
"""Of a whole batch: SQS takes 1 MiB by now, SNS and most stand-ins take this."""
GROUP_BYTES: Final = 16
_ENTRY_BYTES: Final = 64

Answer = Mapping[str, Any]
Call = Callable[[Sequence[dict[str, Any]]], Awaitable[Answer]]
"""Sends the entries of a batch; raises BatchRefused when none of them was looked at."""


class BatchRefused(Exception):
    """A whole batch was not acknowledged. The message says why."""


class BatchTooLong(BatchRefused):
    """Fewer together may be taken."""


async def send_in_batches(
    messages: Sequence[RoutedMessage], call: Call, *, body_name: str, is_fifo: bool
) -> Outcome:
    """Send everything that can be sent in order. `body_name`: what the entries call their body."""
    waiting, left, problem = list(messages), list[RoutedMessage](), ""
    held: set[bytes] = set()
    together = BATCH_MESSAGES
    while batch := next_batch(waiting, one_per_key=is_fifo, together=together):
        entries = [
            entry_of(one, str(n), body_name=body_name, is_fifo=is_fifo)
            for n, one in enumerate(batch)
        ]
        try:
            refused, said = _refused(batch, await call(entries))
        except BatchRefused as error:
            if isinstance(error, BatchTooLong) and len(batch) > 1:
                together = len(batch) // 2
                continue
            left += waiting
            problem = one_line(str(error))
            break
        sent = {one.position for one in batch}
        left += refused
        held |= {one.key for one in refused} if is_fifo else set()
        problem = said or problem
        left += [one for one in waiting if one.key in held and one.position not in sent]
        waiting = [one for one in waiting if one.key not in held and one.position not in sent]
    return Outcome(tuple(sorted(left, key=lambda one: one.position)), problem)


def next_batch(
    waiting: Sequence[RoutedMessage], *, one_per_key: bool, together: int = BATCH_MESSAGES
) -> list[RoutedMessage]:
    """Return the first messages that may go together."""
    batch: list[RoutedMessage] = []
    keys: set[bytes] = set()
    size = 0
    for one in waiting:
        if one_per_key and one.key in keys:
            continue
        size += size_of(one)
        if batch and size > BATCH_BYTES:
            break
        batch.append(one)
        keys.add(one.key)
        if len(batch) == together:
            break
    return batch


def entry_of(
    message: RoutedMessage, entry_id: str, *, body_name: str, is_fifo: bool
) -> dict[str, Any]:
    """Return a message as an entry of a batch."""
    entry: dict[str, Any] = {
        "Id": entry_id,
        body_name: ascii_json(message.body),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": text} for name, text in _attributes(message)
        },
    }
    if is_fifo:
        entry["MessageGroupId"] = group_of(message.key)
        entry["MessageDeduplicationId"] = message.send_id
    return entry


def group_of(key: bytes) -> str:
    """Return what orders messages of a key: a key itself may have signs that a group may not."""
    return hashlib.blake2b(key, digest_size=GROUP_BYTES).hexdigest()


def ascii_json(body: bytes) -> str:
    """Return JSON without a sign beyond ASCII: a key may have some that neither of both takes."""
    return json.dumps(json.loads(body), separators=(",", ":"))


def size_of(message: RoutedMessage) -> int:
    """Return what a message counts: its body at its longest, its attributes, and some more."""
    attributes = sum(len(name) + len(text) + len("String") for name, text in _attributes(message))
    return len(ascii_json(message.body)) + attributes + _ENTRY_BYTES


def _attributes(message: RoutedMessage) -> list[tuple[str, str]]:
    return [*message.headers, ("fileflux-event", message.event_name)]


def _refused(batch: Sequence[RoutedMessage], answer: Answer) -> tuple[list[RoutedMessage], str]:
    """Return what was not acknowledged, and why."""
    taken = {one.get("Id") for one in answer.get("Successful", ())}
    refused = [one for n, one in enumerate(batch) if str(n) not in taken]
    failed = answer.get("Failed", ())
    reasons = [f"{one.get('Code', '')}: {one.get('Message', '')}" for one in failed]
    return refused, one_line((reasons or ["not acknowledged"])[0]) if refused else ""
