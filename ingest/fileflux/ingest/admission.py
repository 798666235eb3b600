"""Who may start an upload now, and who is told to slow down before a byte of the body is read.

Overload shows as 503 at the door, never as growth inside. **Memory of one worker's bodies is
bounded by its budget** (256 MiB by default, uploads and downloads together): an upload takes what
it can hold at most, which is `upload_memory`, before it starts; a download takes its read-ahead.
"""

from types import TracebackType
from typing import Final, Protocol

from fileflux.core.clock import Clock
from fileflux.core.errors import SlowDown
from fileflux.core.model import (
    CHUNK_SIZE_BYTES,
    KIB,
    MIB,
    SMALL_OBJECT_BYTES_MAX,
    StorageClass,
)
from fileflux.core.telemetry import SLOW_DOWNS
from fileflux.ingest.large_upload import MEMORY_BYTES as LARGE_UPLOAD_BYTES
from fileflux.ingest.seals import OpenSeals

UNSETTLED_S_MAX: Final = 5.0
"""A seal that waits longer says that nodes or the database do not keep up."""
SILENCE_S_MAX: Final = 5.0
"""The lane's consumer comes round every 0.1 s when all is well."""
REQUEST_BYTES: Final = 64 * KIB
"""Per upload besides its body: buffers of the connection, headers, tasks."""
HASHING_BYTES: Final = MIB
"""A body's digests hold two batches of 256 KiB and the pieces at hand."""


class MemoryBudget:
    """Bytes of bodies in one worker's memory, counted before they are taken."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size: int) -> bool:
        """Return whether there was room; then `give_back` is owed."""
        if self.used_bytes + size > self.limit_bytes:
            return False
        self.used_bytes += size
        return True

    def give_back(self, size: int) -> None:
        self.used_bytes -= size
        assert self.used_bytes >= 0, "given back what was not taken"


def upload_memory(size: int | None, *, large_bytes: int = LARGE_UPLOAD_BYTES) -> int:
    """Return what an upload of that size holds in memory at most.

    A small one is held whole, for a moment twice; one of unknown size may be either.
    """
    if size is not None and size <= SMALL_OBJECT_BYTES_MAX:
        return REQUEST_BYTES + 2 * size
    return REQUEST_BYTES + HASHING_BYTES + large_bytes


class StagedBytes(Protocol):
    """What admission sees of the staging."""

    @property
    def used_bytes(self) -> int: ...

    @property
    def budget_bytes(self) -> int: ...


class Listener(Protocol):
    """What admission sees of the completions."""

    @property
    def silent_s(self) -> float: ...


class Admission:
    """One worker's door. `large_bytes`: memory of a large upload, more where staging buffers."""

    def __init__(
        self,
        *,
        staging: StagedBytes,
        seals: OpenSeals,
        listener: Listener,
        clock: Clock,
        memory: MemoryBudget,
        requests_max: int = 1_024,
        large_bytes: int = LARGE_UPLOAD_BYTES,
    ) -> None:
        self.memory = memory
        self._staging = staging
        self._seals = seals
        self._listener = listener
        self._clock = clock
        self._requests_max = requests_max
        self._large_bytes = large_bytes
        self._requests = 0

    @property
    def request_count(self) -> int:
        return self._requests

    def upload(self, size: int | None, storage_class: StorageClass) -> "Admitted":
        """Return a context for one upload; entering it raises SlowDown when we are full."""
        return Admitted(self, size, storage_class)

    def enter(self, size: int | None, storage_class: StorageClass) -> int:
        """Count an upload in; return the memory that `leave` gives back. Raises SlowDown."""
        reason = self._refusal(size, storage_class)
        if reason is None:
            memory = upload_memory(size, large_bytes=self._large_bytes)
            if self.memory.take(memory):
                self._requests += 1
                return memory
            reason = "memory"
        SLOW_DOWNS.labels(reason).inc()
        raise SlowDown(f"refused for {reason}")

    def leave(self, memory: int) -> None:
        self._requests -= 1
        self.memory.give_back(memory)

    def _refusal(self, size: int | None, storage_class: StorageClass) -> str | None:
        if self._requests >= self._requests_max:
            return "requests"
        next_bytes = CHUNK_SIZE_BYTES if size is None else min(size, CHUNK_SIZE_BYTES)
        if self._staging.used_bytes + next_bytes > self._staging.budget_bytes:
            return "staging"
        if self._listener.silent_s > SILENCE_S_MAX:
            return "silence"
        now_s = self._clock.monotonic_s()
        if self._seals.oldest_age_s(storage_class.name, now_s=now_s) > UNSETTLED_S_MAX:
            return "unsettled"
        return None


class Admitted:
    """An upload's stay. Use it in `async with`."""

    __slots__ = ("_admission", "_memory", "_size", "_storage_class")

    def __init__(self, admission: Admission, size: int | None, storage_class: StorageClass) -> None:
        self._admission = admission
        self._size = size
        self._storage_class = storage_class
        self._memory = 0

    async def __aenter__(self) -> None:
        self._memory = self._admission.enter(self._size, self._storage_class)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.leave(self._memory)
