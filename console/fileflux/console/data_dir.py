"""One data directory holds everything that `fileflux dev` keeps, and one process owns it.

A version file refuses a downgrade with a sentence; a lock refuses a second `dev`; secrets are made
once, readable by their owner only, so that a second start finds everything as it was.
"""

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FORMAT_VERSION: Final = 1
PRIVATE: Final = ("logs", "nodes", "placement", "run", "staging")
"""Objects lie there in clear: only their owner may enter. Kafka and the database, which may be
elsewhere, make directories of their own."""
FREE_BYTES_MIN: Final = 2 << 30
"""Kafka, PostgreSQL and their logs want room before the first object does."""


class DataDirProblem(Exception):
    """The directory cannot be used. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the system needs to know to be itself again next time."""

    root_access_key: str
    root_secret_key: str
    cluster_secret: str
    master_key: str
    postgres_password: str


class DataDir:
    """Paths under one directory, opened by `open()` and held until `close()`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock_fd: int | None = None

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def open(self) -> None:
        """Create what is missing, take the lock, check the version and the free space."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for name in PRIVATE:
                (self.root / name).mkdir(exist_ok=True)
                (self.root / name).chmod(0o700)
        except OSError as error:
            raise DataDirProblem(
                f"{self.root} cannot be made ({error.strerror}). Choose another --data-dir."
            ) from error
        self._take_lock()
        self._check_version()
        self._check_space()

    def close(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _take_lock(self) -> None:
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise DataDirProblem(
                f"{self.root} is in use by another fileflux dev (process {owner}). "
                "Stop it, or choose another --data-dir."
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._lock_fd = fd

    def _check_version(self) -> None:
        path = self.root / "VERSION"
        if not path.exists():
            path.write_text(f"{FORMAT_VERSION}\n")
            return
        text = path.read_text(errors="replace").strip()
        if not text.isascii() or not text.isdigit():
            raise DataDirProblem(
                f"{path} does not hold a version number: this is no data directory of FileFlux, "
                "or it is damaged. Choose another --data-dir."
            )
        if int(text) > FORMAT_VERSION:
            raise DataDirProblem(
                f"{self.root} was written by a newer FileFlux (format {text}; this one knows "
                f"{FORMAT_VERSION}). Install that version again, or choose another --data-dir."
            )

    def _check_space(self) -> None:
        figures = os.statvfs(self.root)
        free_bytes = figures.f_bavail * figures.f_frsize
        if free_bytes < FREE_BYTES_MIN:
            raise DataDirProblem(
                f"{self.root} has {free_bytes >> 20} MiB free; {FREE_BYTES_MIN >> 20} MiB are "
                "needed to start. Free some space, or choose another --data-dir."
            )

    def credentials(self) -> Credentials:
        """The stored secrets; made at the first start. Root's key may come from the environment."""
        path = self.root / "credentials.json"
        stored = json.loads(path.read_text()) if path.exists() else {}
        made = {
            "root_access_key": "FF" + secrets.token_hex(9).upper(),
            "root_secret_key": secrets.token_urlsafe(30),
            "cluster_secret": secrets.token_hex(32),
            "master_key": secrets.token_hex(32),
            "postgres_password": secrets.token_hex(16),
        }
        given = {
            "root_access_key": os.environ.get("FILEFLUX_ROOT_ACCESS_KEY"),
            "root_secret_key": os.environ.get("FILEFLUX_ROOT_SECRET_KEY"),
        }
        chosen = Credentials(
            **{**made, **stored, **{name: value for name, value in given.items() if value}}
        )
        _write_private(path, json.dumps(asdict(chosen), indent=2))
        return chosen


def _write_private(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
