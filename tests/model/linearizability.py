"""Is a key's history that of one register? A search in the manner of Wing and Gong, with memory.

Each completed operation must take effect at one instant between its call and its answer; an
unknown one at any instant after its call, or never. The search keeps (operations done, value) pairs
that it has seen, as Lowe's refinement does, and is quick for up to about 50 operations a key.

Wing and Gong: Testing and Verifying Concurrent Objects (1993). Lowe: Testing for
Linearizability (2017).
"""

from collections.abc import Sequence

from tests.model.history import ABSENT, History, Operation, effective

Never = float("inf")
STATES_MAX = 400_000
"""Of one key; a few seconds. Only a history of many deletes without an answer needs so many."""


class TooHard(Exception):
    """The search was given up: nothing is said about this key."""


def violations(history: History) -> list[str]:
    """A sentence for every key whose history no register can have; empty when all is well."""
    return [
        f"key {key}: no order of its {len(operations)} operations explains what was read"
        for key, operations in history.by_key().items()
        if not is_linearizable(operations)
    ]


def is_linearizable(operations: Sequence[Operation], initial: str = ABSENT) -> bool:
    """Whether some order, true to real time, explains every answer. Raise TooHard."""
    pending = sorted(_that_matter(operations), key=lambda one: one.called_s)
    must = sum(1 << i for i, one in enumerate(pending) if one.outcome == "ok")
    seen: set[tuple[int, str]] = set()
    stack = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & must == must:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        if len(seen) > STATES_MAX:
            raise TooHard
        stack.extend(_next_states(pending, done, value))
    return False


def _that_matter(operations: Sequence[Operation]) -> list[Operation]:
    """Without the unknown writes whose value nobody saw: that they never were explains as much."""
    pending = effective(operations)
    seen = {one.value for one in pending if one.kind == "read"}
    seen |= {one.expected for one in pending if one.expected is not None}
    return [
        one for one in pending if one.outcome == "ok" or one.kind != "write" or one.value in seen
    ]


def _next_states(pending: Sequence[Operation], done: int, value: str) -> list[tuple[int, str]]:
    """Every operation that may take effect next: called before any undone one was answered."""
    left = [(i, one) for i, one in enumerate(pending) if not done >> i & 1]
    first_answer = min(_answered(one) for _, one in left)
    states = []
    for i, one in left:
        if one.called_s > first_answer:
            break
        after = _apply(one, value)
        if after is not None:
            states.append((done | 1 << i, after))
    return states


def _answered(one: Operation) -> float:
    return Never if one.returned_s is None else one.returned_s


def _apply(one: Operation, value: str) -> str | None:
    """The register's value afterwards; None when the answer cannot be explained here."""
    if one.kind == "read":
        return value if one.value == value else None
    if one.expected is not None and one.expected != value:
        return None
    return one.value if one.kind == "write" else ABSENT
