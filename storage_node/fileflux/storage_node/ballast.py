"""Room kept back for starting: a file that is thrown off when a dataset is full to the brim.

The reserve keeps our own writes away from the end, but others may share the pool. A node that
cannot write its epoch cannot start, and then nobody can read or delete what it has. So the file
goes first; the node starts, refuses writes, and takes the room back when there is enough again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fileflux.core.telemetry import get_logger
from fileflux.storage_node.durable_files import DRAFT_SUFFIX, make_durable_file

log = get_logger(__name__)

BALLAST_FILE: Final = "ballast"
ROOM_FACTOR: Final = 3
"""It is taken back when so many times its size is free: not to be thrown off again at once."""


class Ballast:
    """Blocking. `size` 0: there is none, and it counts as present."""

    def __init__(self, root: Path, size: int) -> None:
        self._path = root / BALLAST_FILE
        self._size = size

    @property
    def is_present(self) -> bool:
        return not self._size or self._path.exists()

    def throw_off(self) -> bool:
        """Free its room, also that of an unfinished one; return whether there was any."""
        draft = self._path.with_name(self._path.name + DRAFT_SUFFIX)
        thrown = [path for path in (self._path, draft) if path.exists()]
        for path in thrown:
            log.error("the dataset is full: the ballast is thrown off", path=str(path))
            path.unlink()
        return bool(thrown)

    def take_back(self, free_bytes: Callable[[], int], reserve_bytes: int) -> bool:
        """Make the file if there is room; return whether it is there. Raise OSError."""
        if self.is_present:
            return True
        if free_bytes() - reserve_bytes < ROOM_FACTOR * self._size:
            return False
        # Random, because a file system that compresses would keep no room for zeros.
        make_durable_file(self._path, os.urandom(self._size))
        return True
