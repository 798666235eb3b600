"""The checker itself: it must accept what a register can do and catch what it cannot."""

import random

import pytest
from tests.model.bodies import is_whole, make_body
from tests.model.history import ABSENT, History
from tests.model.linearizability import is_linearizable, violations


def _history(*steps: tuple[str, float, float | None, str]) -> History:
    """(kind, called, returned or None, value)."""
    history = History()
    for kind, called, returned, value in steps:
        one = history.call(0, kind, "k", at_s=called, value=value)
        outcome = "unknown" if returned is None else "ok"
        history.returned(one, outcome, at_s=returned or 0.0)
    return history


@pytest.mark.parametrize(
    "steps",
    [
        [("write", 0, 1, "a"), ("read", 2, 3, "a")],
        [("write", 0, 5, "a"), ("read", 1, 2, ABSENT), ("read", 3, 4, "a")],
        [("write", 0, None, "a"), ("read", 9, 10, "a")],
        [("write", 0, None, "a"), ("read", 9, 10, ABSENT)],
        [("write", 0, 1, "a"), ("delete", 2, 3, ""), ("read", 4, 5, ABSENT)],
        [("write", 0, 3, "a"), ("write", 0, 3, "b"), ("read", 4, 5, "a"), ("read", 6, 7, "a")],
    ],
)
def test_what_a_register_can_do_is_accepted(steps: list[tuple[str, float, float, str]]) -> None:
    assert violations(_history(*steps)) == []


@pytest.mark.parametrize(
    "steps",
    [
        [("write", 0, 1, "a"), ("read", 2, 3, ABSENT)],
        [("write", 0, 1, "a"), ("write", 2, 3, "b"), ("read", 4, 5, "a")],
        [("write", 0, 5, "a"), ("read", 1, 2, "a"), ("read", 3, 4, ABSENT)],
        [("write", 0, 1, "a"), ("delete", 2, 3, ""), ("read", 4, 5, "a")],
        [("read", 0, 1, "never written")],
        [("write", 5, None, "a"), ("read", 0, 1, "a")],
        [("write", 0, 3, "a"), ("write", 0, 3, "b"), ("read", 4, 5, "a"), ("read", 6, 7, "b")],
    ],
)
def test_what_no_register_can_do_is_caught(steps: list[tuple[str, float, float, str]]) -> None:
    assert len(violations(_history(*steps))) == 1


def test_a_failed_write_that_is_read_later_is_caught() -> None:
    history = History()
    one = history.call(0, "write", "k", at_s=0, value="a")
    history.returned(one, "fail", at_s=1)
    two = history.call(0, "read", "k", at_s=2)
    history.returned(two, "ok", at_s=3, value="a")

    assert len(violations(history)) == 1


def test_two_winners_of_one_conditional_create_are_caught() -> None:
    history = History()
    for client in range(2):
        one = history.call(client, "write", "k", at_s=0, value=f"v{client}", expected=ABSENT)
        history.returned(one, "ok", at_s=1)

    assert len(violations(history)) == 1


def test_a_planted_stale_read_is_caught_in_every_random_history() -> None:
    for seed in range(50):
        history = _simulate(random.Random(seed), operations=40)
        assert violations(history) == []
        reads = [one for one in history.operations if one.kind == "read" and one.value]
        reads[-1].value = "from nowhere"
        assert not is_linearizable(history.operations), seed


def _simulate(rng: random.Random, operations: int) -> History:
    """A true register under four concurrent clients; some answers are lost."""
    history, value, now = History(), ABSENT, 0.0
    for number in range(operations):
        now += rng.random()
        kind = rng.choice(["read", "write", "write", "delete", "read"])
        one = history.call(number % 4, kind, "k", at_s=now, value=f"v{number}")
        if kind == "read":
            history.returned(one, "ok", at_s=now + rng.random(), value=value)
            continue
        lost = rng.random() < 0.05
        value = one.value if kind == "write" else ABSENT
        history.returned(one, "unknown" if lost else "ok", at_s=now + rng.random())
    one = history.call(0, "write", "k", at_s=now + 2, value="last")
    history.returned(one, "ok", at_s=now + 3)
    one = history.call(0, "read", "k", at_s=now + 4)
    history.returned(one, "ok", at_s=now + 5, value="last")
    return history


def test_a_body_tells_whether_it_is_whole() -> None:
    body = make_body(7, 3, 12, 5000)

    assert len(body) == 5000
    assert is_whole(body)
    assert not is_whole(body[:-1])
    assert not is_whole(body[:100] + b"\0" + body[101:])
