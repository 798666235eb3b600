"""How messages are put together for SQS and SNS, and what becomes of those that are refused."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from tests.model.route_rows import message

from fileflux.webhooks.routes.aws_batches import (
    BATCH_BYTES,
    BATCH_MESSAGES,
    BatchRefused,
    BatchTooLong,
    entry_of,
    group_of,
    next_batch,
    send_in_batches,
    size_of,
)
from fileflux.webhooks.routes.destination import Outcome, RoutedMessage


class Queue:
    """Takes entries, or refuses some of them."""

    def __init__(self, seed: int = 0, refuse: float = 0.0) -> None:
        self._rng = random.Random(seed)
        self._refuse = refuse
        self.taken: list[tuple[str, str]] = []
        self.batches: list[list[str]] = []

    async def call(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        self.batches.append([one["MessageGroupId"] for one in entries if "MessageGroupId" in one])
        for one in entries:
            if self._rng.random() < self._refuse:
                answer["Failed"].append({"Id": one["Id"], "Code": "Throttled", "Message": "later"})
                continue
            self.taken.append((one.get("MessageGroupId", ""), one["MessageBody"]))
            answer["Successful"].append({"Id": one["Id"]})
        return answer


def send(messages: Sequence[RoutedMessage], queue: Queue, *, is_fifo: bool) -> Any:
    return send_in_batches(messages, queue.call, body_name="MessageBody", is_fifo=is_fifo)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("is_fifo", [True, False])
async def test_refused_ones_are_sent_again_and_a_fifo_queue_keeps_each_keys_order(
    seed: int, is_fifo: bool
) -> None:
    messages = [message(n, b"k%d" % (n % 5)) for n in range(1, 60)]
    queue = Queue(seed, refuse=0.3)
    left: Sequence[RoutedMessage] = messages
    while left:
        outcome: Outcome = await send(left, queue, is_fifo=is_fifo)
        assert bool(outcome.left) == bool(outcome.problem)
        left = outcome.left
    sequences = [(group, json.loads(body)["sequence"]) for group, body in queue.taken]
    assert sorted(n for _, n in sequences) == list(range(1, 60)), "each once: none was lost"
    if is_fifo:
        for group in {group_of(one.key) for one in messages}:
            numbers = [n for name, n in sequences if name == group]
            assert numbers == sorted(numbers)
        assert all(len(set(batch)) == len(batch) for batch in queue.batches)


async def test_what_a_whole_batch_was_refused_for_is_said_and_nothing_is_left_out() -> None:
    async def call(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        raise BatchRefused("AccessDenied: no")

    messages = [message(n) for n in range(1, 30)]
    outcome = await send_in_batches(messages, call, body_name="Message", is_fifo=False)
    assert list(outcome.left) == messages
    assert outcome.problem == "AccessDenied: no"


@pytest.mark.parametrize("is_fifo", [True, False])
async def test_a_batch_that_a_topic_finds_too_long_is_cut_until_it_is_taken(is_fifo: bool) -> None:
    """Its MaximumMessageSize, which is about all of them together, may be less than 256 KiB."""
    taken: list[str] = []

    async def call(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if len(entries) > 2:
            raise BatchTooLong("BatchRequestTooLong: too long")
        if any("huge" in one["Message"] for one in entries):
            raise BatchTooLong("BatchRequestTooLong: too long")
        taken.extend(one["Message"] for one in entries)
        return {"Successful": [{"Id": one["Id"]} for one in entries]}

    messages = [message(n, b"k%d" % n) for n in range(1, 15)]
    outcome = await send_in_batches(messages, call, body_name="Message", is_fifo=is_fifo)
    assert outcome == Outcome()
    assert [json.loads(one)["sequence"] for one in taken] == [*range(1, 15)]
    outcome = await send_in_batches([message(1, b"huge")], call, body_name="Message", is_fifo=False)
    assert outcome.problem == "BatchRequestTooLong: too long"


async def test_what_the_answer_does_not_name_was_not_acknowledged() -> None:
    async def call(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"Successful": [{"Id": "1"}, {"MessageId": "of which?"}]}

    messages = [message(n) for n in range(1, 4)]
    outcome = await send_in_batches(messages, call, body_name="Message", is_fifo=False)
    assert [one.position for one in outcome.left] == [1, 3]
    assert outcome.problem == "not acknowledged"


def test_a_batch_has_ten_messages_and_256_kib_at_most() -> None:
    many = [message(n) for n in range(1, 30)]
    assert next_batch(many, one_per_key=False) == many[:BATCH_MESSAGES]
    assert next_batch(many, one_per_key=True) == many[:1]
    large = [message(n, b"\xc3\xa4" * 60_000) for n in range(1, 5)]
    batch = next_batch(large, one_per_key=False)
    assert len(batch) == max(1, BATCH_BYTES // size_of(large[0])) < 4


def test_a_body_has_only_signs_that_both_take() -> None:
    """U+FFFF is allowed in a key, and refused in a message."""
    key = "a\uffff\x01🎈".encode()
    entry = entry_of(message(1, key, format="s3"), "0", body_name="MessageBody", is_fifo=True)
    assert entry["MessageBody"].isascii()
    data = entry_of(message(1, key), "0", body_name="MessageBody", is_fifo=False)["MessageBody"]
    assert data.isprintable()
    assert json.loads(data)["key"].encode() == key
    assert entry["MessageGroupId"].isalnum()
    assert entry["MessageDeduplicationId"] == f"{1:032x}"
    assert "MessageGroupId" not in entry_of(message(1), "0", body_name="B", is_fifo=False)
