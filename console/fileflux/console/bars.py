"""How far something is: bars on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn

PLAIN_EVERY_S: Final = 5.0


class NowAndThen:
    """Lines that come seldom enough to be read."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + PLAIN_EVERY_S

    def is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + PLAIN_EVERY_S
        return True


class PlainProgress:
    """A count that grows, without bars. `what` is counted."""

    def __init__(self, out: Console, what: str) -> None:
        self._out = out
        self._what = what
        self._lines = NowAndThen()

    def show(self, done: int, total: int | None = None) -> None:
        if self._lines.is_due():
            of = f" of {total}" if total else ""
            self._out.print(f"  {done}{of} {self._what}")


class Bars:
    """The base of each command's own; used as a context. `progress`: rich's."""

    def __init__(self, out: Console, *columns: ProgressColumn) -> None:
        self.progress = Progress(*columns, console=out)
        self._lines = NowAndThen()

    def __enter__(self) -> Self:
        if self.progress.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.progress.console.is_terminal:  # Otherwise it prints an empty line.
            self.progress.stop()

    def say(self, line: str) -> None:
        self.progress.console.print(f"  {line}")

    def say_now_and_then(self, line: Callable[[], str]) -> None:
        """Print the line where no bars are seen, if the last one was long ago."""
        if not self.progress.console.is_terminal and self._lines.is_due():
            self.say(line())
