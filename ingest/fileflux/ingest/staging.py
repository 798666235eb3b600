"""Where bundles lie until enough nodes have pulled them.

Facts move as events, bytes are pulled: a staged bundle is one immutable file that any worker of the
host can serve by the id of the incarnation (one life of one ingest process) that staged it. Ports
first, then their in-memory twin; `staging_files.py` has the directory, `staging_s3.py` the bucket.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from fileflux.core.checksum import Buffer
from fileflux.core.errors import NoSuchBundle, SlowDown
from fileflux.core.ids import BundleId, Incarnation, SealId
from fileflux.core.node_api import STAGING_PATH

PRESSURE_SHARE: Final = 0.75
"""Above this part of its budget a staging wants to get rid of what it need not keep."""


class StagedFile(Protocol):
    """One bundle that streams in. It is not there for anybody until `finish` returned."""

    async def append(self, parts: Sequence[Buffer]) -> None:
        """Take the next bytes. Raise SlowDown when there is no room, Unavailable on I/O errors."""

    async def finish(self, *, header: bytes, tail: bytes, sync: bool = False) -> None:
        """Write the header over the first bytes, the tail after the last ones; now it is there."""

    async def abandon(self) -> None:
        """Leave nothing behind. Does nothing after `finish`."""


class Staging(Protocol):
    """The bundles of one incarnation, bounded in bytes."""

    @property
    def is_durable(self) -> bool:
        """Whether a bundle staged with `sync` survives a power cut."""

    @property
    def used_bytes(self) -> int: ...

    @property
    def budget_bytes(self) -> int:
        """This worker's share."""

    async def create(
        self, bundle_id: BundleId, parts: Sequence[Buffer], *, sync: bool = False
    ) -> None:
        """Stage a bundle whole or not at all; `sync`: it also survives a power cut.

        Raise SlowDown when there is no room, Unavailable on I/O errors.
        """

    def begin(self, bundle_id: BundleId) -> StagedFile:
        """Start a bundle that streams in. Does no I/O."""

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        """Forget bundles; those that are not there are no error."""

    async def source_url(self, bundle_id: BundleId) -> str:
        """Return where nodes GET the bundle."""


class SealNotes(Protocol):
    """Seals of accepted asynchronous uploads, kept beside their bundles until they settled."""

    async def keep_note(self, seal_id: SealId, record: bytes) -> None:
        """Return when the note survives a power cut."""

    async def drop_note(self, seal_id: SealId) -> None:
        """Forget it; it is no error if it is not there."""


class StagedReader(Protocol):
    """An open staged bundle: whole, whatever becomes of its name meanwhile."""

    @property
    def size(self) -> int: ...

    async def read(self, start: int, length: int) -> bytes: ...

    def close(self) -> None: ...


class StagingHost(Protocol):
    """All incarnations of a host, living and dead: what serving and inheriting needs."""

    async def open(self, incarnation: Incarnation, bundle_id: BundleId) -> StagedReader:
        """Raise NoSuchBundle when it is not there (any more)."""

    async def adopt(self) -> "Inheritance | None":
        """Take the files of one dead incarnation, for this process alone; None: nobody is dead."""


class Inheritance(Protocol):
    """What a dead incarnation left, until `discard`. Its bundles are served all the while."""

    @property
    def incarnation(self) -> Incarnation: ...

    @property
    def bundle_ids(self) -> Sequence[BundleId]: ...

    async def read_notes(self) -> dict[SealId, bytes]:
        """Return the notes by seal; empty is one that is there and cannot be read."""

    async def keep_note(self, seal_id: SealId, record: bytes) -> None: ...

    async def drop_note(self, seal_id: SealId) -> None: ...

    async def source_url(self, bundle_id: BundleId) -> str: ...

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None: ...

    async def hold(self) -> None:
        """Keep it ours, until cancelled."""

    async def discard(self) -> None:
        """Delete all that is left, and the incarnation with it."""


def staging_url(base_url: str, incarnation: Incarnation, bundle_id: BundleId) -> str:
    """Return the URL of a staged bundle on ingest's internal port."""
    path = STAGING_PATH.format(incarnation=incarnation.hex(), bundle_id=bundle_id.hex())
    return base_url.rstrip("/") + path


def total_size(parts: Sequence[Buffer]) -> int:
    return sum(len(part) for part in parts)


class Budget:
    """Counts the staged bytes of one worker."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0

    def take(self, size: int) -> None:
        """Raise SlowDown when there is no room for that many bytes more."""
        if self.used_bytes + size > self.budget_bytes:
            raise SlowDown("the staging is full")
        self.used_bytes += size

    def give_back(self, size: int) -> None:
        self.used_bytes -= size
        assert self.used_bytes >= 0, "given back what was not taken"


# --- in memory --------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class MemoryHost:
    """The disk of a host in memory; it survives the death of its incarnations.

    A test ends an incarnation by `kill`.
    """

    files: dict[Incarnation, dict[BundleId, bytes]] = field(default_factory=dict)
    notes: dict[Incarnation, dict[SealId, bytes]] = field(default_factory=dict)
    locked: set[Incarnation] = field(default_factory=set)

    def kill(self, incarnation: Incarnation) -> None:
        self.locked.discard(incarnation)

    async def open(self, incarnation: Incarnation, bundle_id: BundleId) -> StagedReader:
        try:
            return _MemoryReader(self.files[incarnation][bundle_id])
        except KeyError:
            raise NoSuchBundle(f"bundle {bundle_id.hex()} is not staged") from None

    async def adopt(self) -> Inheritance | None:
        for incarnation in self.files:
            if incarnation not in self.locked:
                self.locked.add(incarnation)
                return MemoryInheritance(self, incarnation)
        return None


class _MemoryReader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def read(self, start: int, length: int) -> bytes:
        return self._data[start : start + length]

    def close(self) -> None:
        """Nothing to close in memory."""


class MemoryNotes:
    """The notes of one incarnation."""

    def __init__(self, host: MemoryHost, incarnation: Incarnation, base_url: str) -> None:
        self.incarnation = incarnation
        self._base_url = base_url
        self._host = host
        self._files = host.files.setdefault(incarnation, {})
        self._notes = host.notes.setdefault(incarnation, {})

    async def keep_note(self, seal_id: SealId, record: bytes) -> None:
        self._notes[seal_id] = record

    async def drop_note(self, seal_id: SealId) -> None:
        self._notes.pop(seal_id, None)

    async def source_url(self, bundle_id: BundleId) -> str:
        return staging_url(self._base_url, self.incarnation, bundle_id)


class MemoryStaging(MemoryNotes):
    """The staging of one incarnation of a `MemoryHost`."""

    is_durable = True

    def __init__(
        self,
        host: MemoryHost,
        incarnation: Incarnation,
        *,
        budget_bytes: int = 1 << 30,
        base_url: str = "http://ingest.invalid",
    ) -> None:
        super().__init__(host, incarnation, base_url)
        host.locked.add(incarnation)
        self._budget = Budget(budget_bytes)

    @property
    def used_bytes(self) -> int:
        return self._budget.used_bytes

    @property
    def budget_bytes(self) -> int:
        return self._budget.budget_bytes

    async def create(
        self, bundle_id: BundleId, parts: Sequence[Buffer], *, sync: bool = False
    ) -> None:
        self._budget.take(total_size(parts))
        self._files[bundle_id] = b"".join(parts)

    def begin(self, bundle_id: BundleId) -> StagedFile:
        return _MemoryFile(self._budget, self._files, bundle_id)

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        for bundle_id in bundle_ids:
            self._budget.give_back(len(self._files.pop(bundle_id, b"")))


class _MemoryFile:
    def __init__(self, budget: Budget, files: dict[BundleId, bytes], bundle_id: BundleId) -> None:
        self._budget = budget
        self._files = files
        self._bundle_id = bundle_id
        self._data = bytearray()
        self._finished = False

    async def append(self, parts: Sequence[Buffer]) -> None:
        self._budget.take(total_size(parts))
        for part in parts:
            self._data += part

    async def finish(self, *, header: bytes, tail: bytes, sync: bool = False) -> None:
        await self.append([tail])
        self._data[: len(header)] = header
        self._files[self._bundle_id] = bytes(self._data)
        self._finished = True

    async def abandon(self) -> None:
        if not self._finished:
            self._budget.give_back(len(self._data))
            self._data = bytearray()
            self._finished = True


class MemoryInheritance(MemoryNotes):
    """A dead incarnation of a `MemoryHost`."""

    def __init__(
        self, host: MemoryHost, incarnation: Incarnation, base_url: str = "http://heir.invalid"
    ) -> None:
        super().__init__(host, incarnation, base_url)

    @property
    def bundle_ids(self) -> Sequence[BundleId]:
        return tuple(self._files)

    async def read_notes(self) -> dict[SealId, bytes]:
        return dict(self._notes)

    async def hold(self) -> None:
        """Ours by being in `locked`."""

    async def delete(self, bundle_ids: Sequence[BundleId]) -> None:
        for bundle_id in bundle_ids:
            self._files.pop(bundle_id, None)

    async def discard(self) -> None:
        self._host.files.pop(self.incarnation, None)
        self._host.notes.pop(self.incarnation, None)
        self._host.locked.discard(self.incarnation)
