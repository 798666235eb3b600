"""How far the demo's client is: bars on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S: Final = 5.0
NAMES: Final = {"put": "upload", "get": "download"}


class DemoProgress:
    """Counts files by phase (`put`, `get`)."""

    def __init__(self, out: Console, files: int) -> None:
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=out)
        self._next_line_s = time.monotonic() + PLAIN_EVERY_S
        self._tasks = {
            phase: self._progress.add_task(name, total=files, start=phase == "put")
            for phase, name in NAMES.items()
        }

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

    def one_more(self, phase: str) -> None:
        self._progress.start_task(self._tasks[phase])
        self._progress.advance(self._tasks[phase])
        if not self._progress.console.is_terminal and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + PLAIN_EVERY_S
            tasks = self._progress.tasks
            self.say(", ".join(f"{t.description} {t.completed:.0f}/{t.total:.0f}" for t in tasks))

    def say(self, line: str) -> None:
        self._progress.console.print(f"  {line}")
