"""Where old ranges of the audit stream go: outside of FileFlux, behind one small port.

An archive holds whole objects by name. They are never changed and never removed by us: two that
write the same range at once write the same history, and whoever comes second finds it there.

    <stream>/segments/upto-<last position>-from-<first position>.jsonl.gz
    <stream>/checkpoints/upto-<last number>-from-<first number>.jsonl

Positions and numbers have 20 digits. The last one comes first, so that the first name behind
`upto-<n - 1>~` is that of whatever holds n: one listing of one name finds any position.
"""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from fileflux.core.errors import Conflict, Invalid, NotFound, Unavailable

DIGITS: Final = 20
SEGMENTS: Final = "segments"
CHECKPOINTS: Final = "checkpoints"
_NAME: Final = re.compile(r"upto-(\d{20})-from-(\d{20})\.jsonl(?:\.gz)?")


class NotArchived(NotFound):
    """The archive has nothing by this name."""


class AlreadyArchived(Conflict):
    """There is an object by this name; it stays as it is."""


class ArchiveUnavailable(Unavailable):
    """The archive does not answer, or refuses; the message says which."""


class ArchiveInvalid(Invalid):
    """The archive holds another history than the database, or is FileFlux itself."""


class Archive(Protocol):
    """Objects by name. Names are parts of letters, digits, `.`, `-` and `_`, parted by `/`."""

    async def put(self, name: str, body: bytes) -> None:
        """Return when the object is whole and durable; raise AlreadyArchived, ArchiveUnavailable.

        However it ends, a reader finds the whole object by this name or none.
        """

    async def get(self, name: str) -> bytes:
        """Return an object; raise NotArchived, ArchiveUnavailable."""

    async def names(self, prefix: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Return the first names, at most `limit`, that begin with `prefix` and come `after`.

        `prefix` ends with the slash of a folder that has none inside.
        """

    async def leave_probe(self) -> "Probe | None":
        """Leave an object that FileFlux would know of if it were this store; None: no store is."""


class Probe(Protocol):
    """An object that was left in a bucket to see who else knows of it."""

    @property
    def bucket(self) -> str: ...

    @property
    def key(self) -> str: ...

    async def remove(self) -> None: ...


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """What an object holds: positions of records, or numbers of checkpoints, both ends in it."""

    last: int
    first: int

    def name(self, stream: str, kind: str) -> str:
        ending = "jsonl.gz" if kind == SEGMENTS else "jsonl"
        return f"{stream}/{kind}/upto-{self.last:0{DIGITS}}-from-{self.first:0{DIGITS}}.{ending}"


def span_of(name: str) -> Span | None:
    """Return what the object by this name holds; None if the name is not one of ours."""
    found = _NAME.fullmatch(name.rpartition("/")[2])
    return None if found is None else Span(int(found[1]), int(found[2]))


async def next_object(archive: Archive, stream: str, kind: str, wanted: int) -> str | None:
    """Return the name of the first object that ends at `wanted` or behind; None if none does."""
    prefix = f"{stream}/{kind}/"
    names = await archive.names(prefix, after=f"{prefix}upto-{wanted - 1:0{DIGITS}}~", limit=8)
    return next((name for name in names if span_of(name) is not None), None)
