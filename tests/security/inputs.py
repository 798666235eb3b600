"""Seeded inputs for the rows of the security battery, and how many each row was given."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

DEFAULT_TOTAL: Final = 25_000
COUNTS: Final[Counter[str]] = Counter()


@dataclass
class Inputs:
    """The inputs of one test: a seeded source of them, counted as they are used."""

    row: str
    rng: random.Random

    def rounds(self, share: float) -> Iterator[int]:
        """Yield that share of the total, counting each."""
        total = int(os.environ.get("FILEFLUX_SECURITY_INPUTS") or DEFAULT_TOTAL)
        for number in range(max(1, int(total * share))):
            self.count()
            yield number

    def count(self) -> None:
        """Count one input that was not drawn."""
        COUNTS[self.row] += 1
