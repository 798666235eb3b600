"""Named points in the code where a test may crash, pause or fail the process.

Nothing happens unless `FILEFLUX_FAILPOINTS` is set, for example
`node.after_fsync=kill;ingest.after_seal=sleep:500;sequencer.before_publish=kill@3`: an action at
the first hit, or at the n-th. Actions: `kill` (SIGKILL ourselves), `pause` (SIGSTOP), `sleep:MS`,
`raise:MESSAGE`, `off`. A file named by `FILEFLUX_FAILPOINTS_FILE` has the same text and is read
again when it changes, so that one long-lived cluster can be hurt at one point after another.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


class FailpointError(Exception):
    """What `raise:` raises."""


@dataclass(slots=True)
class _Action:
    verb: str
    argument: str
    hits_left: int


def _parse(text: str) -> dict[str, _Action]:
    actions = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        name, _, what = item.partition("=")
        what, _, nth = what.partition("@")
        verb, _, argument = what.partition(":")
        actions[name.strip()] = _Action(verb, argument, int(nth or 1))
    return actions


class _Failpoints:
    """The armed points of this process."""

    def __init__(self) -> None:
        self._file = os.environ.get("FILEFLUX_FAILPOINTS_FILE", "")
        self._actions = _parse(os.environ.get("FILEFLUX_FAILPOINTS", ""))
        self._mtime_ns = 0
        self.enabled = bool(self._file or self._actions)

    def hit(self, name: str) -> None:
        self._refresh()
        action = self._actions.get(name)
        if action is None:
            return
        action.hits_left -= 1
        if action.hits_left == 0:
            _act(name, action)

    def _refresh(self) -> None:
        if not self._file:
            return
        try:
            mtime_ns = Path(self._file).stat().st_mtime_ns
            if mtime_ns != self._mtime_ns:
                self._mtime_ns = mtime_ns
                self._actions = _parse(Path(self._file).read_text())
        except FileNotFoundError:
            self._actions = {}


def _act(name: str, action: _Action) -> None:
    if action.verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.verb == "pause":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action.verb == "sleep":
        time.sleep(int(action.argument) / 1000)
    elif action.verb == "raise":
        raise FailpointError(f"{name}: {action.argument}")


_failpoints = _Failpoints()


def failpoint(name: str) -> None:
    """Do what the test armed for `name`; normally nothing, in one attribute look-up."""
    if _failpoints.enabled:
        _failpoints.hit(name)


def failpoints_enabled() -> bool:
    """Return whether this process listens to failpoints. Production start-up refuses it."""
    return _failpoints.enabled
