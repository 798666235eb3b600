"""How far a restore is: bars on a terminal, a line now and then elsewhere; on standard error."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fileflux.console.plain_progress import PlainProgress


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
        self._plain_reading = PlainProgress(out, "records read")
        self._plain_doing = PlainProgress(out, "keys")

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
        if not self._progress.console.is_terminal:
            self._plain_reading.show(done, total)

    def done(self, done: int, total: int) -> None:
        self._progress.update(self._doing, completed=done, total=total)
        if not self._progress.console.is_terminal:
            self._plain_doing.show(done, total)
