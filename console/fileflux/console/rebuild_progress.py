"""How far a rebuild is: a bar on a terminal, a line now and then elsewhere; on standard error."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fileflux.metadata.rebuild import Progress as Step

PLAIN_EVERY_S: Final = 5.0


class RebuildProgress:
    """Give `show` to the rebuild."""

    def __init__(self, out: Console) -> None:
        columns = (
            TextColumn("rebuilding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("records, {task.fields[rate]}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=out)
        self._task = self._progress.add_task("", total=None, rate="?")
        self._began_s = time.monotonic()
        self._next_line_s = self._began_s + PLAIN_EVERY_S
        self._first: int | None = None

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

    def show(self, step: Step) -> None:
        now_s = time.monotonic()
        if self._first is None:  # An earlier run's records were not replayed by this one.
            self._first, self._began_s = step.position, now_s
        took_s = now_s - self._began_s
        rate = f"{(step.position - self._first) / took_s:,.0f}" if took_s else "?"
        self._progress.update(
            self._task, completed=step.position, total=step.end or None, rate=rate
        )
        if not self._progress.console.is_terminal and now_s >= self._next_line_s:
            self._next_line_s = now_s + PLAIN_EVERY_S
            of = f" of {step.end}" if step.end else ""
            self._progress.console.print(f"  {step.position}{of} records, {rate}/s")
