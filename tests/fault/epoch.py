"""What one fault's clients did and saw: their keys, their history, and what was wrong at once.

Keys belong to one epoch and retire after some forty operations, so that each key's history stays
short enough to be judged (tests/model/linearizability.py).
"""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.fault.s3_client import Answer
from tests.model.bodies import label_of
from tests.model.history import History, Operation

OPERATIONS_PER_KEY: Final = 38
LISTED_PER_KEY: Final = 46
"""A listing is a read of each key in it, as long as the key has room for one."""
HOT_KEYS: Final = 20
KEPT_BYTES_MAX: Final = 256 << 10


@dataclass(slots=True)
class Listing:
    """One whole listing of the epoch's keys, over all its pages: key to ETag."""

    called_s: float
    returned_s: float
    found: dict[str, str]
    is_ordered: bool


@dataclass(slots=True)
class Epoch:
    """`etags`: of everything that was ever sent, noted before it was. `final`: at the end."""

    name: str
    history: History = field(default_factory=History)
    etags: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    unsent: set[int] = field(default_factory=set)
    in_doubt: list[tuple[Operation, float]] = field(default_factory=list)
    final: dict[str, str] = field(default_factory=dict)
    _uses: Counter[str] = field(default_factory=Counter)
    _generations: list[int] = field(default_factory=lambda: [0] * HOT_KEYS)

    def hot_key(self, number: int) -> str:
        """Return the present key of a place among the hot ones, and count the use."""
        key = f"{self.name}/hot-{number:02}-{self._generations[number]}"
        self._uses[key] += 1
        if self._uses[key] >= OPERATIONS_PER_KEY:
            self._generations[number] += 1
        return key

    def has_room(self, key: str) -> bool:
        self._uses[key] += 1
        return self._uses[key] < LISTED_PER_KEY

    @property
    def keys(self) -> list[str]:
        return sorted({one.key for one in self.history.operations})

    def note(self, body: bytes, etag: str | None = None) -> tuple[str, str]:
        """Remember what is about to be sent; return its (label, ETag)."""
        label = label_of(body)
        tag = etag or hashlib.md5(body).hexdigest()
        self.etags[tag] = label
        return label, tag

    def keep(self, body: bytes) -> None:
        """Remember a body that is not large, for ranges of it."""
        if len(body) <= KEPT_BYTES_MAX:
            self.bodies[hashlib.md5(body).hexdigest()] = body

    def refusal(self, one: Operation) -> None:
        """A 503 for a write: with the database up it is a promise that nothing will happen.

        What was in flight while the database was down is found out at the end of the epoch.
        """
        self.in_doubt.append((one, time.monotonic()))
        self.history.returned(one, "fail", at_s=time.monotonic())

    def was_not_sent(self, one: Operation) -> None:
        """Nobody listened: it did nothing, and proves nothing either."""
        self.unsent.add(one.index)
        self.history.returned(one, "fail", at_s=time.monotonic())

    def settle_doubts(self) -> None:
        """With all outages known: a 503 that overlaps one may still take effect."""
        for one, returned_s in self.in_doubt:
            if any(one.called_s < end and returned_s > begin for begin, end in self.outages):
                self.history.returned(one, "unknown", at_s=returned_s)

    def unexpected(self, what: str, answer: Answer) -> None:
        request_id = answer.headers.get("x-amz-request-id", "")
        self.problems.append(f"{what}: {answer.status} {request_id} {answer.body[:300]!r}")

    def overlapping(self, begin_s: float, end_s: float) -> int:
        """Return how many operations were in flight at some time between the two."""
        count = 0
        for one in self.history.operations:
            if one.index in self.unsent:
                continue
            returned_s = one.returned_s if one.returned_s is not None else end_s
            count += one.called_s <= end_s and returned_s >= begin_s
        return count

    def acknowledged_after(self, at_s: float) -> int:
        return sum(one.outcome == "ok" and one.called_s >= at_s for one in self.history.operations)

    def acknowledged_writes(self) -> int:
        return sum(o.outcome == "ok" and o.kind == "write" for o in self.history.operations)

    def longest_s(self) -> float:
        """Return how long the slowest answered operation took."""
        took = (o.returned_s - o.called_s for o in self.history.operations if o.returned_s)
        return max(took, default=0.0)
