"""How far a restore is: bars on a terminal, a line now and then elsewhere; on standard error."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S: Final = 5.0


class RestoreProgress:
    """Give `read` and `done` to the restore."""

    def __init__(self, out: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=out)
        self._reading = self._progress.add_task("records read", total=None)
        self._doing = self._progress.add_task("keys", total=None)
        self._next_line_s = time.monotonic() + PLAIN_EVERY_S

    def __enter__(self) -> Self:
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def read(self, done: int, total: int) -> None:
        self._progress.update(self._reading, completed=done, total=total)
        self._say(f"  {done} of {total} records read")

    def done(self, done: int, total: int) -> None:
        self._progress.update(self._doing, completed=done, total=total)
        self._say(f"  {done} of {total} keys")

    def _say(self, line: str) -> None:
        now_s = time.monotonic()
        if not self._progress.console.is_terminal and now_s >= self._next_line_s:
            self._next_line_s = now_s + PLAIN_EVERY_S
            self._progress.console.print(line)
