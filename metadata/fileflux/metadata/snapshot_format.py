"""Snapshots in the archive ⇄ bytes (docs/formats/snapshot.md). Pure.

A snapshot is a manifest and parts. A part is gzip over lines of JSON, a row each; the manifest
names every part with its digest, and every table with the digest of its rows, and is written last:
where there is a manifest the snapshot is whole.

    <stream>/snapshots/at-<position>-<id>.json
    <stream>/snapshot-parts/at-<position>-<id>-<number>.jsonl.gz
"""

import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fileflux.core.errors import EventInvalid
from fileflux.metadata.archive_format import unpacked
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.digest import TableDigest
from fileflux.metadata.record_lines import decode_line, line_of
from fileflux.metadata.row_json import record_from_json, row_to_json
from fileflux.metadata.row_keys import ROW_TYPES
from fileflux.metadata.snapshot import DERIVED_TYPES

FORMAT: Final = "fileflux-snapshot"
VERSION: Final = 1
LEVEL: Final = 3
TIME_US_MAX: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999, behind which there is no date."""
TYPES: Final[Mapping[str, type[Any]]] = {**ROW_TYPES, **DERIVED_TYPES}
_NAME: Final = re.compile(r"[\w.-]+/snapshots/at-(\d{20})-[0-9a-f]+\.json")
_PART_NAME: Final = re.compile(r"[\w.-]+/snapshot-parts/at-\d{20}-[0-9a-f]+-\d{6}\.jsonl\.gz")


@dataclass(frozen=True, slots=True)
class Part:
    """An object of rows. `digest`: SHA-256 of its bytes, hexadecimal. `size`: of them."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot holds, and what a rebuild must do with it.

    `position`: a replay goes on behind it; `last`: the record there. `whole_at`: from this position
    on a replay has overtaken whatever rows were ahead; nothing up to there took effect later than
    `whole_us`. `tables`: by name, in the order in which their rows come.
    """

    stream: str
    snapshot_id: str
    position: int
    last: NumberedRecord
    whole_at: int
    whole_us: int
    made_us: int
    tables: Mapping[str, TableDigest]
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        return f"{self.stream}/snapshots/at-{self.position:020}-{self.snapshot_id}.json"

    @property
    def size(self) -> int:
        """Bytes of its parts."""
        return sum(part.size for part in self.parts)


def position_in(name: str) -> int | None:
    """Return the position of the snapshot whose manifest has this name; None: it is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def part_name(stream: str, position: int, snapshot_id: str, number: int) -> str:
    return f"{stream}/snapshot-parts/at-{position:020}-{snapshot_id}-{number:06}.jsonl.gz"


def line_of_row(table: str, row: Any) -> bytes:
    return orjson.dumps([table, row_to_json(row)]) + b"\n"


def encode_part(lines: Iterable[bytes]) -> bytes:
    return gzip.compress(b"".join(lines), LEVEL, mtime=0)


def decode_part(part: Part, raw: bytes) -> Iterator[tuple[str, Any]]:
    """Yield (table, row); raise EventInvalid unless it is the part that the manifest names."""
    if hashlib.sha256(raw).hexdigest() != part.digest:
        raise EventInvalid(f"{part.name} has another digest than its snapshot says")
    for line in unpacked(raw).splitlines():
        try:
            table, value = orjson.loads(line)
            kind = TYPES[table]
        except (KeyError, TypeError, ValueError) as error:
            raise EventInvalid(f"{part.name} has a line that is no row: {error!r}") from error
        yield table, record_from_json(kind, value)


def encode_manifest(manifest: Manifest) -> bytes:
    body = {
        "stream": manifest.stream,
        "id": manifest.snapshot_id,
        "position": manifest.position,
        "last": line_of(manifest.last).decode().rstrip("\n"),
        "whole_at": manifest.whole_at,
        "whole_us": manifest.whole_us,
        "made_us": manifest.made_us,
        "tables": {name: [one.rows, one.digest] for name, one in manifest.tables.items()},
        "parts": [[part.name, part.digest, part.size] for part in manifest.parts],
    }
    raw = orjson.dumps(body)
    head = {"format": FORMAT, "version": VERSION, "digest": hashlib.sha256(raw).hexdigest()}
    return orjson.dumps(head) + b"\n" + raw + b"\n"


def decode_manifest(raw: bytes) -> Manifest:
    """Return what `encode_manifest` wrote; raise EventInvalid for anything else."""
    head, _, rest = raw.partition(b"\n")
    body = rest.removesuffix(b"\n")
    try:
        header = orjson.loads(head)
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            raise EventInvalid("not a snapshot of a version we know")
        if hashlib.sha256(body).hexdigest() != header["digest"]:
            raise EventInvalid("the snapshot's manifest was changed")
        found = _manifest_of(orjson.loads(body))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EventInvalid(f"not a snapshot's manifest: {error!r}") from error
    if not all(_PART_NAME.fullmatch(part.name) for part in found.parts):
        raise EventInvalid("the snapshot names parts that are none")
    if found.last.position != found.position:
        raise EventInvalid("the snapshot's last record is another one than its position says")
    return found


def _manifest_of(body: Mapping[str, Any]) -> Manifest:
    return Manifest(
        stream=body["stream"],
        snapshot_id=body["id"],
        position=body["position"],
        last=decode_line(body["last"].encode()),
        whole_at=_number(body["whole_at"], at_least=body["position"]),
        whole_us=_number(body["whole_us"]),
        made_us=_number(body["made_us"]),
        tables={_table(name): _digest(*one) for name, one in body["tables"].items()},
        parts=tuple(_part(*one) for one in body["parts"]),
    )


def _number(value: Any, *, at_least: int = 0) -> int:
    """Return a position, a size or a time (µs since 1970) as it is; raise ValueError."""
    if type(value) is not int or not at_least <= value <= TIME_US_MAX:
        raise ValueError(f"{value!r} is no number that belongs here")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _table(name: str) -> str:
    if name not in TYPES:
        raise ValueError(f"{name!r} is no table that this FileFlux knows")
    return name


def _digest(rows: Any, digest: Any) -> TableDigest:
    return TableDigest(_number(rows), _text(digest))


def _part(name: Any, digest: Any, size: Any) -> Part:
    return Part(_text(name), _text(digest), _number(size))
