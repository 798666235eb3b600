"""A count that grows, told now and then on standard error."""

import time
from typing import Final

from rich.console import Console

EVERY_S: Final = 5.0


class PlainProgress:
    """`what` is counted."""

    def __init__(self, out: Console, what: str) -> None:
        self._out = out
        self._what = what
        self._next_s = time.monotonic() + EVERY_S

    def show(self, done: int, total: int | None = None) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            of = f" of {total}" if total else ""
            self._out.print(f"  {done}{of} {self._what}")
