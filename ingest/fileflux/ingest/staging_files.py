"""Staging in one directory per host: the page cache, or a tmpfs, with names.

    ROOT/<incarnation>/lock             flocked as long as the incarnation lives
    ROOT/<incarnation>/<bundle>.bundle  renamed into place when it is whole
    ROOT/<incarnation>/<seal>.seal      note of an accepted asynchronous upload

Nothing is fsynced but what an asynchronous upload was accepted for: a power cut before the answer
may lose what nobody was promised. Small writes happen where they are asked for (a write to the page
cache takes less than a thread's hand-over), large ones in threads.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from fileflux.core.checksum import Buffer
from fileflux.core.errors import NoSuchBundle, SlowDown, Unavailable
from fileflux.core.ids import BundleId, Incarnation, SealId, parse_id
from fileflux.core.model import KIB
from fileflux.core.telemetry import get_logger
from fileflux.ingest.staging import (
    Budget,
    Inheritance,
    StagedFile,
    StagedReader,
    staging_url,
    total_size,
)

log = get_logger(__name__)

INLINE_BYTES_MAX: Final = 256 * KIB
"""Writing this much to the page cache takes about 0.1 ms: no longer than a hand-over."""
IO_DEADLINE_S: Final = 10.0
_BUFFERS_MAX: Final = 512
"""Per writev; the system takes 1,024."""
_LOCK: Final = "lock"
_BUNDLE: Final = ".bundle"
_NOTE: Final = ".seal"
_DRAFT: Final = ".draft"

Done = TypeVar("Done")


class _Folder:
    """One incarnation's directory: what a living owner and an heir have in common."""

    def __init__(self, path: Path, incarnation: Incarnation, base_url: str) -> None:
        self.incarnation = incarnation
        self._path = path
        self._prefix = f"{path}/"
        self._base_url = base_url

    async def source_url(self, bundle_id: BundleId) -> str:
        return staging_url(self._base_url, self.incarnation, bundle_id)

    async def keep_note(self, seal_id: SealId, record: bytes) -> None:
        await _in_thread(lambda: _write_file(self._note(seal_id), [record], sync=True))

    async def drop_note(self, seal_id: SealId) -> None:
        await _in_thread(lambda: _unlink(self._note(seal_id)))

    def _bundle(self, bundle_id: BundleId) -> str:
        return f"{self._prefix}{bundle_id.hex()}{_BUNDLE}"

    def _note(self, seal_id: SealId) -> str:
        return f"{self._prefix}{seal_id.hex()}{_NOTE}"


class FileStaging(_Folder):
    """The living incarnation's staging. Make it with `open_staging`."""

    is_durable = True

    def __init__(
        self,
        path: Path,
        incarnation: Incarnation,
        *,
        lock_fd: int,
        budget_bytes: int,
        base_url: str,
    ) -> None:
        super().__init__(path, incarnation, base_url)
        self._lock_fd = lock_fd
        self._budget = Budget(budget_bytes)
        self._sizes: dict[BundleId, int] = {}
        self._stuck: set[BundleId] = set()

    @property
    def used_bytes(self) -> int:
        return self._budget.used_bytes

    @property
    def budget_bytes(self) -> int:
        return self._budget.budget_bytes

    async def create(
        self, bundle_id: BundleId, parts: Sequence[Buffer], *, sync: bool = False
    ) -> None:
        size = total_size(parts)
        self._budget.take(size)
        self._sizes[bundle_id] = size
        path = self._bundle(bundle_id)
        if size <= INLINE_BYTES_MAX and not sync:
            try:
                _guarded(lambda: _write_file(path, parts, sync=False))
            except BaseException:
                self._forget(bundle_id)
                raise
        else:
            await _in_thread(
                lambda: _write_file(path, parts, sync=sync),
                undo=lambda: self._forget(bundle_id),
            )

    def begin(self, bundle_id: BundleId) -> StagedFile:
        return _StreamedFile(self._budget, self._sizes, bundle_id, self._bundle(bundle_id))

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        """One that the disk will not delete stays counted; the next call tries it again."""
        leaving, self._stuck = self._stuck.union(bundle_ids), set()
        if sum(self._sizes.get(bundle_id, 0) for bundle_id in leaving) <= INLINE_BYTES_MAX:
            self._gone(leaving, self._unlink_each(leaving))
            return
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(None, self._unlink_each, leaving)
        # Also when nobody waits any more: the thread deletes them all the same.
        running.add_done_callback(lambda ended: self._gone(leaving, ended.result()))
        await asyncio.shield(running)

    def _unlink_each(self, bundle_ids: Collection[BundleId]) -> dict[BundleId, OSError]:
        """Return those that are still there, and why."""
        refused = {}
        for bundle_id in bundle_ids:
            try:
                _unlink(self._bundle(bundle_id))
            except OSError as error:
                refused[bundle_id] = error
        return refused

    def _gone(self, bundle_ids: Collection[BundleId], refused: Mapping[BundleId, OSError]) -> None:
        for bundle_id in bundle_ids:
            if bundle_id not in refused:
                self._budget.give_back(self._sizes.pop(bundle_id, 0))
        if refused:
            self._stuck.update(refused)
            problem = str(next(iter(refused.values())))
            log.warning("staged bundles cannot be deleted", count=len(refused), problem=problem)

    def close(self) -> None:
        """Let go of the lock. What is left is the next living worker's to settle; an empty
        directory goes with us.
        """
        if all(path.name == _LOCK for path in self._path.iterdir()):
            _unlink(f"{self._prefix}{_LOCK}")
            self._path.rmdir()
        os.close(self._lock_fd)

    def _forget(self, bundle_id: BundleId) -> None:
        _unlink(self._bundle(bundle_id))
        self._budget.give_back(self._sizes.pop(bundle_id, 0))


class _StreamedFile:
    """Its owner calls one method at a time. What a thread still does after a time-out or a
    cancellation ends before the file is dropped: a descriptor in use is never closed.
    """

    def __init__(
        self, budget: Budget, sizes: dict[BundleId, int], bundle_id: BundleId, path: str
    ) -> None:
        self._budget = budget
        self._sizes = sizes
        self._bundle_id = bundle_id
        self._path = path
        self._draft = path + _DRAFT
        self._fd = -1
        self._size = 0
        self._ended = False
        self._in_use = False

    async def append(self, parts: Sequence[Buffer]) -> None:
        self._take(total_size(parts))
        self._in_use = True  # From here on: a thread that is still to begin would come too late.
        await _in_thread(lambda: self._append(parts), undo=self._drop)

    async def finish(self, *, header: bytes, tail: bytes, sync: bool = False) -> None:
        self._take(len(tail))
        self._in_use = True
        await _in_thread(lambda: self._finish(header, tail, sync=sync), undo=self._drop)
        self._sizes[self._bundle_id] = self._size
        self._ended = True

    async def abandon(self) -> None:
        if not self._in_use:
            self._drop()

    def _take(self, size: int) -> None:
        assert not self._ended, "the file is finished or gone"
        self._budget.take(size)
        self._size += size

    def _drop(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._budget.give_back(self._size)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        _unlink_all([self._draft, self._path])

    def _append(self, parts: Sequence[Buffer]) -> None:
        with self._using():
            if self._fd < 0:
                self._fd = _create(self._draft)
            _write_all(self._fd, parts)

    def _finish(self, header: bytes, tail: bytes, *, sync: bool) -> None:
        with self._using():
            _write_all(self._fd, [tail])
            os.lseek(self._fd, 0, os.SEEK_SET)
            _write_all(self._fd, [header])
            fd, self._fd = self._fd, -1
            _publish(fd, self._draft, self._path, sync=sync)

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._in_use = False


class FileHost:
    """The directory of a host, with every incarnation in it."""

    def __init__(self, root: Path, *, base_url: str) -> None:
        self._root = root
        self._base_url = base_url

    async def open(self, incarnation: Incarnation, bundle_id: BundleId) -> StagedReader:
        path = f"{self._root}/{incarnation.hex()}/{bundle_id.hex()}{_BUNDLE}"
        try:
            return _FileReader(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise NoSuchBundle(f"bundle {bundle_id.hex()} is not staged") from None

    async def adopt(self) -> Inheritance | None:
        return await asyncio.to_thread(self._adopt)

    def _adopt(self) -> "FileInheritance | None":
        for path in sorted(self._root.iterdir()):
            incarnation = _parse_name(path.name)
            if incarnation is None:
                continue
            lock_fd = _try_lock(path)
            if lock_fd is not None:
                made = Incarnation(incarnation)
                return FileInheritance(path, made, lock_fd=lock_fd, base_url=self._base_url)
        return None


class _FileReader:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    async def read(self, start: int, length: int) -> bytes:
        if length <= INLINE_BYTES_MAX:
            return os.pread(self._fd, length, start)
        return await _in_thread(lambda: os.pread(self._fd, length, start))

    def close(self) -> None:
        os.close(self._fd)


class FileInheritance(_Folder):
    """A dead incarnation's directory, locked by us."""

    def __init__(
        self, path: Path, incarnation: Incarnation, *, lock_fd: int, base_url: str
    ) -> None:
        super().__init__(path, incarnation, base_url)
        self._lock_fd = lock_fd

    @property
    def bundle_ids(self) -> Sequence[BundleId]:
        return [BundleId(raw) for raw in self._ids(_BUNDLE)]

    async def read_notes(self) -> dict[SealId, bytes]:
        ids = [SealId(raw) for raw in self._ids(_NOTE)]
        return {seal_id: await self._read_note(seal_id) for seal_id in ids}

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        await asyncio.to_thread(_unlink_all, [self._bundle(each) for each in bundle_ids])

    async def hold(self) -> None:
        """The lock holds it."""

    async def discard(self) -> None:
        await asyncio.to_thread(self._discard)

    async def _read_note(self, seal_id: SealId) -> bytes:
        """Return nothing of a note that the disk cannot read: the others were promised as much."""
        try:
            return await _in_thread(Path(self._note(seal_id)).read_bytes)
        except Unavailable as error:
            log.warning("a note cannot be read", seal_id=seal_id.hex(), problem=str(error))
            return b""

    def _ids(self, suffix: str) -> list[bytes]:
        names = [path.name for path in self._path.iterdir() if path.name.endswith(suffix)]
        return [raw for name in sorted(names) if (raw := _parse_name(name[: -len(suffix)]))]

    def _discard(self) -> None:
        for path in self._path.iterdir():
            if path.name != _LOCK:
                path.unlink(missing_ok=True)
        # The lock goes last: until then nobody else may take what is left.
        _unlink(f"{self._prefix}{_LOCK}")
        self._path.rmdir()
        os.close(self._lock_fd)


def open_staging(
    root: Path, incarnation: Incarnation, *, budget_bytes: int, base_url: str
) -> FileStaging:
    """Make this incarnation's directory, locked before anybody can see it. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f".{incarnation.hex()}"
    draft.mkdir()
    lock_fd = _try_lock(draft)
    assert lock_fd is not None, "nobody else knows this name"
    path = root / incarnation.hex()
    draft.rename(path)
    return FileStaging(
        path, incarnation, lock_fd=lock_fd, budget_bytes=budget_bytes, base_url=base_url
    )


def _try_lock(folder: Path) -> int | None:
    """Return the locked file; None when another process holds it, or has just removed it."""
    path = folder / _LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == path.stat().st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass  # Somebody's, or gone since we opened it.
    os.close(fd)
    return None


def _parse_name(name: str) -> bytes | None:
    try:
        return parse_id(name)
    except ValueError:
        return None


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _write_file(path: str, parts: Sequence[Buffer], *, sync: bool) -> None:
    draft = path + _DRAFT
    fd = _create(draft)
    try:
        _write_all(fd, parts)
    except BaseException:
        os.close(fd)
        _unlink(draft)
        raise
    _publish(fd, draft, path, sync=sync)


def _publish(fd: int, draft: str, path: str, *, sync: bool) -> None:
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


def _write_all(fd: int, parts: Sequence[Buffer]) -> None:
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


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - a Path costs more than the call
    except FileNotFoundError:
        return


def _unlink_all(paths: Sequence[str]) -> None:
    for path in paths:
        _unlink(path)


def _guarded(work: Callable[[], Done]) -> Done:
    """Run `work`; a full disk is SlowDown, any other I/O error is Unavailable."""
    try:
        return work()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SlowDown("the staging's disk is full") from error
        raise Unavailable(f"staging: {os.strerror(error.errno or 0)}") from error


async def _in_thread(work: Callable[[], Done], *, undo: Callable[[], None] = lambda: None) -> Done:
    """Run `work` in a thread, under a deadline. If it fails, `undo` runs once the thread ended.

    A thread cannot be cancelled: after a time-out or a cancellation it may still be writing.
    """
    running = asyncio.get_running_loop().run_in_executor(None, lambda: _guarded(work))
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
