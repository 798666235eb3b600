"""How far a rebuild is, on standard error."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fileflux.console.bars import Bars
from fileflux.metadata.rebuild import Progress as Step


class RebuildProgress(Bars):
    """Give `show` to the rebuild."""

    def __init__(self, out: Console) -> None:
        super().__init__(
            out,
            TextColumn("rebuilding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("records, {task.fields[rate]}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self.progress.add_task("", total=None, rate="?")
        self._began_s = time.monotonic()
        self._first: int | None = None

    def show(self, step: Step) -> None:
        now_s = time.monotonic()
        if self._first is None:  # An earlier run's records were not replayed by this one.
            self._first, self._began_s = step.position, now_s
        took_s = now_s - self._began_s
        rate = f"{(step.position - self._first) / took_s:,.0f}" if took_s else "?"
        self.progress.update(self._task, completed=step.position, total=step.end or None, rate=rate)
        of = f" of {step.end}" if step.end else ""
        self.say_now_and_then(lambda: f"{step.position}{of} records, {rate}/s")
