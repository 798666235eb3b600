"""Schedules that once failed because of a bug in FileFlux, and why. Every run repeats them.

Any change of the code makes another schedule of a seed, so the bug's own test is elsewhere; these
stay because what is near a bug is worth another look.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Case:
    """A seed, the faults that were on in any case, and what was wrong."""

    seed: int
    faults: tuple[str, ...]
    why: str


CORPUS: Final = (
    Case(
        158,
        ("broker wiped", "broker delays", "broker doubles", "broker refuses"),
        "a late record in a wiped audit topic stood for all before it: position 1 never came again",
    ),
    Case(
        5000113,
        ("broker delays", "broker doubles", "broker refuses", "messages lost"),
        "a late copy of position 1 was taken for the start: what stood before it was removed",
    ),
    Case(
        9000120,
        ("broker wiped", "broker delays", "broker doubles", "broker refuses"),
        "a late record stood amid the audit topic that was filled again: readers never got past it",
    ),
)
