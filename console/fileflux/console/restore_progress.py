"""How far a restore is: bars on a terminal, a line now and then elsewhere; on standard error."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from fileflux.console.bars import Bars


class RestoreProgress(Bars):
    """Give `read` and `done` to the restore."""

    def __init__(self, out: Console) -> None:
        super().__init__(
            out,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._reading = self.progress.add_task("records read", total=None)
        self._doing = self.progress.add_task("keys", total=None)

    def read(self, done: int, total: int) -> None:
        self.progress.update(self._reading, completed=done, total=total)
        self.say_now_and_then(lambda: f"{done} of {total} records read")

    def done(self, done: int, total: int) -> None:
        self.progress.update(self._doing, completed=done, total=total)
        self.say_now_and_then(lambda: f"{done} of {total} keys")
