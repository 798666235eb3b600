"""Writes, names and deletes files of the staging directory, under a deadline.

Small writes happen where they are asked for (a write to the page cache takes less than a thread's
hand-over), large ones in threads. A full disk is SlowDown, any other I/O error is Unavailable.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from fileflux.core.checksum import Buffer
from fileflux.core.errors import SlowDown, Unavailable
from fileflux.core.model import KIB

INLINE_BYTES_MAX: Final = 256 * KIB
"""Writing this much to the page cache takes about 0.1 ms: no longer than a hand-over."""
IO_DEADLINE_S: Final = 10.0
DRAFT: Final = ".draft"
_BUFFERS_MAX: Final = 512
"""Per writev; the system takes 1,024."""

Done = TypeVar("Done")


def create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def write_file(path: str, parts: Sequence[Buffer], *, sync: bool) -> None:
    draft = path + DRAFT
    fd = create(draft)
    try:
        write_all(fd, parts)
    except BaseException:
        os.close(fd)
        unlink(draft)
        raise
    publish(fd, draft, path, sync=sync)


def publish(fd: int, draft: str, path: str, *, sync: bool) -> None:
    """Give a written file its name, and close it."""
    try:
        if sync:
            os.fsync(fd)
        os.rename(draft, path)  # noqa: PTH104 - a Path costs more than the call
        if sync:
            # ZFS makes a name durable with the next fsync of the file, others with the directory's.
            os.fsync(fd)
            _fsync_folder(path.rpartition("/")[0])
    finally:
        os.close(fd)


def _fsync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, parts: Sequence[Buffer]) -> None:
    """Write everything; a full disk first shows as a short write."""
    views = [memoryview(part) for part in parts]
    at = 0
    while at < len(views):
        written = os.writev(fd, views[at : at + _BUFFERS_MAX])
        while at < len(views) and written >= len(views[at]):
            written -= len(views[at])
            at += 1
        if written:
            views[at] = views[at][written:]


def unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - a Path costs more than the call
    except FileNotFoundError:
        return


def unlink_all(paths: Sequence[str]) -> None:
    for path in paths:
        unlink(path)


def guarded(work: Callable[[], Done]) -> Done:
    """Run `work`; a full disk is SlowDown, any other I/O error is Unavailable."""
    try:
        return work()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SlowDown("the staging's disk is full") from error
        raise Unavailable(f"staging: {os.strerror(error.errno or 0)}") from error


async def in_thread(work: Callable[[], Done], *, undo: Callable[[], None] = lambda: None) -> Done:
    """Run `work` in a thread, under a deadline. If it fails, `undo` runs once the thread ended.

    A thread cannot be cancelled: after a time-out or a cancellation it may still be writing.
    """
    running = asyncio.get_running_loop().run_in_executor(None, lambda: guarded(work))
    try:
        async with asyncio.timeout(IO_DEADLINE_S):
            return await asyncio.shield(running)
    except BaseException as error:
        if running.done():
            undo()
        else:
            running.add_done_callback(lambda ended: _after_end(ended, undo))
        if isinstance(error, TimeoutError):
            raise Unavailable("staging: the disk does not answer") from error
        raise


def _after_end(ended: "asyncio.Future[Done]", undo: Callable[[], None]) -> None:
    if not ended.cancelled():
        ended.exception()  # Looked at: nobody waits for it any more.
    undo()
