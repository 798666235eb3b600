"""How far the demo's client is."""

from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from fileflux.console.bars import Bars

NAMES: Final = {"put": "upload", "get": "download"}


class DemoProgress(Bars):
    """Counts files by phase (`put`, `get`)."""

    def __init__(self, out: Console, files: int) -> None:
        super().__init__(
            out,
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files"),
            TimeElapsedColumn(),
        )
        self._tasks = {
            phase: self.progress.add_task(name, total=files, start=phase == "put")
            for phase, name in NAMES.items()
        }

    def one_more(self, phase: str) -> None:
        self.progress.start_task(self._tasks[phase])
        self.progress.advance(self._tasks[phase])
        self.say_now_and_then(self._counts)

    def _counts(self) -> str:
        tasks = self.progress.tasks
        return ", ".join(f"{t.description} {t.completed:.0f}/{t.total:.0f}" for t in tasks)
