"""Ctrl-C and SIGTERM while the system starts: noted at once, obeyed wherever somebody waits.

An exception out of a signal handler may come between the start of a process and our knowing its
pid; so the handler only notes the wish, and all waiting goes through `wait`.
"""

import signal
import threading
from types import FrameType


class Interrupted(Exception):
    """Somebody asked us to stop while we were starting."""


class Interruption:
    """Whether somebody asked us to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def listen(self) -> None:
        """Take the two signals over, for the rest of this process or until somebody else does."""
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGTERM, self._note)

    def ask(self) -> None:
        self._asked.set()

    def is_asked_within(self, seconds: float) -> bool:
        return self._asked.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Sleep; raise Interrupted as soon as somebody asks. Any thread may wait."""
        if self._asked.wait(seconds):
            raise Interrupted("somebody asked us to stop")

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.set()
