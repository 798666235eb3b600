"""Who this node is: the dataset's UUID, made once, and an epoch that grows with every start.

An epoch that went backwards is remembered on the dataset until it was settled: by then the file
itself has grown again, and would tell the next start nothing.

Both lie on the dataset, so a copy of the process elsewhere is another node, and an empty dataset is
a new one. One process at a time: the lock file is held for as long as the process lives.
"""

import contextlib
import fcntl
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileflux.core.errors import Invalid
from fileflux.core.ids import NodeId
from fileflux.storage_node.durable_files import (
    make_durable_directory,
    make_durable_file,
    sync_directory,
)
from fileflux.storage_node.extent_file import extent_numbers

IDENTITY_FILE: Final = "node-id"
EPOCH_FILE: Final = "epoch"
UNSETTLED_FILE: Final = "epoch.went-back"
LOCK_FILE: Final = "lock"
EXTENTS_DIRECTORY: Final = "extents"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A claimed data directory. `lock_fd` must stay open."""

    root: Path
    node_id: NodeId
    lock_fd: int

    @property
    def extents(self) -> Path:
        return self.root / EXTENTS_DIRECTORY

    def release(self) -> None:
        os.close(self.lock_fd)


def claim_dataset(root: Path) -> Dataset:
    """Take the dataset for this process; make its identity if it is empty. Blocking.

    Raise Invalid when another process has it, or when it has bundles but no identity.
    """
    make_durable_directory(root)
    lock_fd = _lock(root / LOCK_FILE)
    try:
        make_durable_directory(root / EXTENTS_DIRECTORY)
        return Dataset(root, _node_id(root), lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise Invalid(f"another storage node runs on {path.parent}: stop it first") from error
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _node_id(root: Path) -> NodeId:
    path = root / IDENTITY_FILE
    if path.exists():
        return _parse_node_id(path)
    if extent_numbers(root / EXTENTS_DIRECTORY):
        raise Invalid(
            f"{root} has bundles but no {IDENTITY_FILE}: restore that file, or move the "
            "extents away to start an empty node"
        )
    make_durable_file(path, f"{uuid.uuid4()}\n".encode())
    return _parse_node_id(path)


def _parse_node_id(path: Path) -> NodeId:
    try:
        return NodeId(str(uuid.UUID(path.read_text().strip())))
    except ValueError as error:
        raise Invalid(f"{path} is not a UUID") from error


def next_epoch(root: Path, seen: int) -> tuple[int, bool]:
    """Count the epoch up, durably; return it and whether one that went back is unsettled. Blocking.

    `seen`: the highest epoch that index and extents know of. A file behind it was restored from an
    older copy, and bundles that were confirmed since may be missing.
    """
    stored = _stored_epoch(root)
    if stored < seen:
        make_durable_file(root / UNSETTLED_FILE, f"{stored} {seen}\n".encode())
    epoch = max(stored, seen, 0) + 1
    make_durable_file(root / EPOCH_FILE, f"{epoch}\n".encode())
    return epoch, (root / UNSETTLED_FILE).exists()


def settle_epoch(root: Path) -> None:
    """The whole inventory was read: what is missing is known. Durable; blocking. Raise OSError."""
    (root / UNSETTLED_FILE).unlink(missing_ok=True)
    sync_directory(root)


def _stored_epoch(root: Path) -> int:
    try:
        return int((root / EPOCH_FILE).read_text())
    except FileNotFoundError:
        return 0
    except ValueError:
        return -1
