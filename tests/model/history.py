"""What clients did and saw: written before and after each call, judged afterwards.

An operation's outcome is `ok`, `fail` (it certainly had no effect) or `unknown` (no answer: it may
take effect once, at any time after its call, or never).
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

ABSENT: Final = ""
"""The value of a key that no object has."""


@dataclass(slots=True)
class Operation:
    """`value`: what a write wrote or a read saw (a digest or a label, unique per write).

    `expected`: None, or the value that must be there for a conditional write to apply; ABSENT for
    If-None-Match: *. Times are seconds on one monotonic clock; `returned_s` None: no answer.
    """

    index: int
    client: int
    kind: str  # read, write, delete
    key: str
    called_s: float
    value: str = ABSENT
    expected: str | None = None
    returned_s: float | None = None
    outcome: str = "unknown"


class History:
    """The record of a run. With a file, a killed run keeps what it knew."""

    def __init__(self, path: Path | None = None) -> None:
        self.operations: list[Operation] = []
        self._file: IO[str] | None = path.open("w") if path else None

    def call(
        self,
        client: int,
        kind: str,
        key: str,
        *,
        at_s: float,
        value: str = ABSENT,
        expected: str | None = None,
    ) -> Operation:
        one = Operation(
            index=len(self.operations),
            client=client,
            kind=kind,
            key=key,
            called_s=at_s,
            value=value,
            expected=expected,
        )
        self.operations.append(one)
        self._write(one)
        return one

    def returned(
        self, one: Operation, outcome: str, *, at_s: float, value: str | None = None
    ) -> None:
        one.returned_s = None if outcome == "unknown" else at_s
        one.outcome = outcome
        if value is not None:
            one.value = value
        self._write(one)

    def by_key(self) -> dict[str, list[Operation]]:
        keys: dict[str, list[Operation]] = defaultdict(list)
        for one in self.operations:
            keys[one.key].append(one)
        return keys

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for one in self.operations:
            found[f"{one.kind}:{one.outcome}"] += 1
        return dict(sorted(found.items()))

    def _write(self, one: Operation) -> None:
        if self._file:
            self._file.write(json.dumps(asdict(one)) + "\n")
            self._file.flush()


def effective(operations: Iterable[Operation]) -> list[Operation]:
    """Without what says nothing: failed operations, and reads that had no answer."""
    return [
        one
        for one in operations
        if one.outcome == "ok" or (one.outcome == "unknown" and one.kind != "read")
    ]
