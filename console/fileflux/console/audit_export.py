"""Export audit events to a file that is whole or not there, and goes on where it was stopped.

Lines go to `FILE.partial`; `FILE.partial.json` says what was asked, how far it has come and how
many bytes of the file count. It is written after the bytes are on disk, so that a kill at any
moment costs what came since, never a line twice. The finished file is moved to its name.
"""

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from fileflux.console.audit_question import Question, Range
from fileflux.core.errors import Invalid
from fileflux.core.model import MIB
from fileflux.metadata.audit_filter import OpenedRecord
from fileflux.metadata.audit_json import structured
from fileflux.metadata.audit_reader import AuditReader

SAVE_EVERY_BYTES: Final = 16 * MIB
SAVE_EVERY_POSITIONS: Final = 50_000

Progress = Callable[[int], None]
"""Called with the next position to read."""


class ExportRefused(Invalid):
    """The file cannot be written as asked. The message says what to do."""


class Sink(Protocol):
    """Where events go."""

    @property
    def position(self) -> int:
        """Where to read on."""

    @property
    def count(self) -> int:
        """Events written, those of an earlier run among them."""

    def write(self, events: Sequence[OpenedRecord], next_position: int) -> None:
        """Take the events before `next_position`."""

    def finish(self) -> None:
        """Everything is there: make it the result."""

    def close(self) -> None:
        """Leave what is there. Idempotent."""


async def export(reader: AuditReader, asked: Range, sink: Sink, progress: Progress) -> None:
    """Write the events of a range that has an end. Raise as the reader does; then run it again."""
    assert asked.until is not None, "an export ends"
    async for run in reader.pages(sink.position, until=asked.until):
        found = [opened for record in run if (opened := asked.wanted.open(record))]
        sink.write(found, run[-1].position + 1)
        progress(run[-1].position + 1)
    sink.finish()


@dataclass(frozen=True, slots=True)
class Saved:
    """How far an unfinished export has come."""

    question: dict[str, Any]
    start: int
    until: int
    position: int
    count: int
    size: int


def question_as_json(asked: Question) -> dict[str, Any]:
    wanted = asdict(asked.wanted)
    wanted["operations"] = sorted(wanted["operations"])
    wanted["prefix"] = wanted["prefix"].hex()
    return {"from": asked.start, "until": asked.until, **wanted}


def partial_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def saved_of(path: Path) -> Saved | None:
    """Return the state of an unfinished export to `path`, None if there is none to go on with."""
    try:
        saved = Saved(**json.loads(_state_path(path).read_text()))
        is_there = partial_of(path).stat().st_size >= saved.size
    except (OSError, ValueError, TypeError):
        return None
    return saved if is_there else None


def clear(path: Path, *, force: bool) -> None:
    """Make way for a new export. Raise ExportRefused for what only `force` may remove."""
    if path.exists() and not force:
        raise ExportRefused(f"{path} is there already: choose another name, or --force")
    if force:
        _state_path(path).unlink(missing_ok=True)
        partial_of(path).unlink(missing_ok=True)


class LinesFile:
    """A sink of JSON lines. `saved`: go on from there; else it begins at `start`."""

    def __init__(
        self, path: Path, question: dict[str, Any], *, start: int, until: int, saved: Saved | None
    ) -> None:
        self._path = path
        self._question = question
        self._range = (start, until)
        self.position = saved.position if saved else start
        self.count = saved.count if saved else 0
        self._saved_position, self._saved_size = self.position, saved.size if saved else 0
        self._file: BinaryIO = os.fdopen(
            os.open(partial_of(path), os.O_RDWR | os.O_CREAT, 0o600), "r+b"
        )
        self._lock()
        self._file.truncate(self._saved_size)
        self._file.seek(self._saved_size)

    def write(self, events: Sequence[OpenedRecord], next_position: int) -> None:
        self._file.writelines(structured(opened.record) + b"\n" for opened in events)
        self.position = next_position
        self.count += len(events)
        grown = self._file.tell() - self._saved_size
        passed = next_position - self._saved_position
        if grown >= SAVE_EVERY_BYTES or passed >= SAVE_EVERY_POSITIONS:
            self._save()

    def finish(self) -> None:
        self._sync()
        partial_of(self._path).replace(self._path)
        _sync_directory(self._path.parent)
        _state_path(self._path).unlink(missing_ok=True)
        self._file.close()

    def close(self) -> None:
        if not self._file.closed:
            self._save()
            self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ExportRefused(f"another export writes {self._path}") from None

    def _save(self) -> None:
        self._sync()
        self._saved_position, self._saved_size = self.position, self._file.tell()
        saved = Saved(self._question, *self._range, self.position, self.count, self._saved_size)
        draft = _state_path(self._path).with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(saved)))
        draft.replace(_state_path(self._path))

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


class LinesStream:
    """A sink of JSON lines that cannot be taken back: standard output."""

    def __init__(self, out: BinaryIO, *, start: int) -> None:
        self._out = out
        self.position = start
        self.count = 0

    def write(self, events: Sequence[OpenedRecord], next_position: int) -> None:
        self._out.writelines(structured(opened.record) + b"\n" for opened in events)
        self.position = next_position
        self.count += len(events)

    def finish(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """Nothing is ours."""


def _state_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial.json")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
