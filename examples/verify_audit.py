"""Verify FileFlux's audit stream from outside: with files and a public key, nothing of FileFlux.

    python examples/verify_audit.py --keys audit-keys.txt ARCHIVE_DIRECTORY export.jsonl ...

Files are the archive's segments and checkpoints, and exports (`fileflux audit export`, unfiltered);
directories are searched for them. Their formats: docs/formats/archive.md. It is proven that up to
the last signed checkpoint no record is missing, changed, reordered or cut off, and no checkpoint
either; what came after it is checked as far as its hashes reach. Whoever holds the private key can
sign another history: keep the checkpoints that you have seen and give them along, then it shows.

Needs Python and `cryptography`. Ends with 0: whole; 1: broken; 2: nothing was there to verify.
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SEGMENT, CHECKPOINT = "fileflux-audit-segment", "fileflux-audit-checkpoint"
NOTHING = "0" * 64
UNREADABLE = (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError)
NUMBERS = re.compile(
    rb'\{"position":"(\d{20})","stream":"([0-9a-f]{32})","sequence":"(\d{20})",'
    rb'"prevhash":"([0-9a-f]{64})",'
)


@dataclass(frozen=True)
class Fault:
    """`kind`: missing, changed or forged. `position` 0: it cannot be said."""

    position: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Record:
    """One line. `payload`: the bytes that the chain goes over."""

    position: int
    stream: str
    sequence: int
    previous: str
    payload: bytes

    @property
    def chain_hash(self) -> str:
        return hashlib.sha256(bytes.fromhex(self.previous) + self.payload).hexdigest()


def record_of(line: bytes) -> Record:
    found = NUMBERS.match(line)
    if found is None or not line.endswith(b"\n"):
        raise ValueError("a line that is no whole audit record")
    numbers = int(found[1]), found[2].decode(), int(found[3]), found[4].decode()
    return Record(*numbers, b"{" + line[found.end() : -1])


@dataclass(frozen=True)
class Source:
    """A file with records. `header`: a segment's; an export has none. `last`: 0 if unreadable."""

    path: Path
    first: int
    last: int
    header: dict[str, Any] | None


@dataclass
class Walk:
    """Follows the records, one after the other. `hashes`: at the positions that somebody names."""

    position: int = 1
    last_hash: str | None = NOTHING
    is_whole: bool = True
    count: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    hashes: dict[int, str | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, position: int, kind: str, detail: str) -> None:
        self.faults.append(Fault(position, kind, detail))

    def follow(self, record: Record, where: str) -> None:
        """Check the next record; one that came before is in a range that was written twice."""
        if record.position < self.position:
            return
        if record.position > self.position:
            gap = record.position - self.position
            self.fault(self.position, "missing", f"{gap} records from here, before {where}")
            self.sequences, self.is_whole = {}, False
        elif self.last_hash not in (None, record.previous):
            self.fault(max(1, record.position - 1), "changed", f"or the next one, in {where}")
        self._count(record)
        self.position, self.last_hash = record.position + 1, record.chain_hash
        self.count += 1
        if record.position in self.hashes:
            self.hashes[record.position] = self.last_hash

    def _count(self, record: Record) -> None:
        """The chain goes over payloads: they name their streams, and sequences are counted."""
        stream = json.loads(record.payload)["data"]["bucket_id"] or "0" * 32
        expected = self.sequences.get(stream, 1 if self.is_whole else record.sequence)
        if (record.stream, record.sequence) != (stream, expected):
            self.fault(record.position, "changed", f"it is number {expected} of stream {stream}")
        self.sequences[stream] = expected + 1


# Files


def lines_of(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def look_into(path: Path) -> Source | list[dict[str, Any]]:
    """Return what a file holds, records or checkpoints; raise one of UNREADABLE."""
    first = next(lines_of(path), b"")
    if NUMBERS.match(first):
        (end,) = deque(lines_of(path), maxlen=1)
        is_record = NUMBERS.match(end)
        return Source(path, record_of(first).position, int(is_record[1]) if is_record else 0, None)
    header = json.loads(first)
    if header["format"] == CHECKPOINT:
        return [checkpoint_of(line) for line in lines_of(path)]
    if (header["format"], header["version"]) != (SEGMENT, 1):
        raise ValueError("neither audit records nor checkpoints of a version that is known here")
    last = header.get("last_position")
    last = last if isinstance(last, int) else 0
    return Source(path, int(header["first_position"]), last, header)


def follow_source(walk: Walk, source: Source) -> None:
    """Follow a file's records; then its header must have told the truth about them."""
    digest = hashlib.sha256()
    first: Record | None = None
    last: Record | None = None
    lines = lines_of(source.path)
    if source.header is not None:
        next(lines)
    for line in lines:
        digest.update(line)
        record = record_of(line)
        follows = last is None or record.previous == last.chain_hash
        if record.position < walk.position and not follows:
            walk.fault(record.position, "changed", f"it, or its place, in {source.path.name}")
        walk.follow(record, source.path.name)
        first, last = first or record, record
    if source.header is not None:
        _check_header(walk, source, source.header, first, last, digest.hexdigest())
    known = walk.hashes.get(last.position) if last is not None else None
    if last is not None and known not in (None, last.chain_hash):
        walk.fault(last.position, "changed", f"{source.path.name} has another history")


def _check_header(
    walk: Walk,
    source: Source,
    header: dict[str, Any],
    first: Record | None,
    last: Record | None,
    digest: str,
) -> None:
    if first is None or last is None:
        raise ValueError("a segment without records")
    true = {
        "first_position": first.position,
        "last_position": last.position,
        "previous_hash": first.previous,
        "chain_hash": last.chain_hash,
        "digest": digest,
    }
    for name in [name for name, value in true.items() if header.get(name) != value]:
        walk.fault(first.position, "changed", f"the {name} that {source.path.name} begins with")


# Checkpoints


def checkpoint_of(line: bytes) -> dict[str, Any]:
    """Return a checkpoint; raise one of UNREADABLE if it is none."""
    one: dict[str, Any] = json.loads(line)
    if (one["format"], one["version"]) != (CHECKPOINT, 1):
        raise ValueError("not a checkpoint of a version that is known here")
    if type(one["number"]) is not int or type(one["position"]) is not int:
        raise ValueError("a checkpoint's numbers are integers")
    if not all(isinstance(one[name], str) for name in ("signature", "key", "previous", "time")):
        raise ValueError("a checkpoint's other fields are texts")
    text_of(one)
    return one


def text_of(one: dict[str, Any]) -> bytes:
    """Return what is signed: a title, and a line for each field."""
    names = ("stream", "number", "position", "chain_hash", "time", "previous", "key")
    lines = ["fileflux audit checkpoint v1", *(str(one[name]) for name in names)]
    if any("\n" in line for line in lines):
        raise ValueError("a checkpoint's fields have one line each")
    return "".join(f"{line}\n" for line in lines).encode()


def is_signed(one: dict[str, Any]) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(one["key"]))
        key.verify(bytes.fromhex(one["signature"]), text_of(one))
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def check_checkpoints(walk: Walk, checkpoints: Sequence[dict[str, Any]], keys: set[str]) -> None:
    """They must be signed by a key of ours, in a row, and name the hashes that were found."""
    row = dict[int, dict[bytes, dict[str, Any]]]()
    for one in checkpoints:  # Whoever gives the same one twice gives it once.
        row.setdefault(one["number"], {})[text_of(one) + one["signature"].encode()] = one
    number, before = 0, {NOTHING}
    for following, variants in sorted(row.items()):
        position = next(iter(variants.values()))["position"]
        texts = {text_of(one) for one in variants.values()}
        if following != number + 1:
            gap = f"checkpoints {number + 1} to {following - 1}"
            walk.fault(position, "missing", gap)
        elif any(one["previous"] not in before for one in variants.values()):
            walk.fault(position, "changed", f"checkpoint {number}, or the next one")
        if len(texts) > 1:
            walk.fault(position, "forged", f"there are two checkpoints {following}")
        for one in variants.values():
            if not is_signed(one) or one["key"] not in keys:
                walk.fault(position, "forged", f"no key that you trust signed {following}")
            _check_record(walk, one)
        number, before = following, {hashlib.sha256(text).hexdigest() for text in texts}


def _check_record(walk: Walk, one: dict[str, Any]) -> None:
    if one["position"] not in walk.hashes:
        return  # Before the first record that was asked for.
    found = walk.hashes[one["position"]]
    if found is None:
        walk.fault(one["position"], "missing", f"what checkpoint {one['number']} was signed for")
    elif found != one["chain_hash"]:
        detail = f"it, or one before it, since checkpoint {one['number']} was signed"
        walk.fault(one["position"], "changed", detail)


# All of it


def verify(
    paths: Sequence[Path], keys: set[str], *, start: int = 1, signed_after: str = ""
) -> dict[str, Any]:
    """Return what is there, how far it is signed, and every fault.

    `start`: the first position. `signed_after`: a time, which the last checkpoint must be behind.
    """
    walk = Walk() if start == 1 else Walk(position=start, last_hash=None, is_whole=False)
    sources, checkpoints = list[Source](), list[dict[str, Any]]()
    for path in paths:
        try:
            found = look_into(path)
        except UNREADABLE as error:
            walk.fault(0, "changed", f"{path} cannot be read: {error!r}")
            continue
        if isinstance(found, Source):
            sources.append(found)
        else:
            checkpoints += found
    walk.hashes = {one["position"]: None for one in checkpoints if one["position"] >= start}
    walk.hashes |= {source.last: None for source in sources}
    for source in sorted(sources, key=lambda one: (one.first, str(one.path))):
        try:
            follow_source(walk, source)
        except UNREADABLE as error:
            walk.fault(walk.position, "changed", f"{source.path.name} is damaged: {error!r}")
    if not checkpoints:
        walk.fault(0, "missing", "a signed checkpoint: hashes alone show that files agree, no more")
    check_checkpoints(walk, checkpoints, keys)
    last = max(checkpoints, key=lambda one: int(one["number"]), default=None)
    if last is not None and last["time"] <= signed_after:
        walk.fault(walk.position, "missing", f"checkpoints after {last['time']}, and their records")
    return {
        "whole": not walk.faults,
        "records": walk.count,
        "last_position": walk.position - 1,
        "checkpoints": len({one["number"] for one in checkpoints}),
        "signed_to": last["position"] if last else 0,
        "signed_at": last["time"] if last else None,
        "faults": [asdict(fault) for fault in walk.faults],
    }


def files_in(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and those of directories; a name that begins with a dot is no file yet."""
    found = list[Path]()
    for path in paths:
        inside = sorted(path.rglob("*.jsonl*")) if path.is_dir() else [path]
        found += [one for one in inside if not one.name.startswith(".")]
    return found


def show(result: dict[str, Any]) -> None:
    mark = "whole" if result["whole"] else "BROKEN"
    print(f"{mark}: {result['records']} records, up to position {result['last_position']}")
    print(
        f"{result['checkpoints']} checkpoints; signed up to position {result['signed_to']}"
        f" ({result['signed_at']})"
    )
    for fault in result["faults"]:
        print(f"  position {fault['position']}: {fault['kind']}: {fault['detail']}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify FileFlux's audit stream from files.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--key", action="append", default=[], help="a public key that you trust")
    parser.add_argument("--keys", type=Path, help="a file of them, one a line")
    parser.add_argument("--from", dest="start", type=int, default=1, help="the first position")
    parser.add_argument("--signed-after", default="", help="the last checkpoint is newer than this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    listed = arguments.keys.read_text().splitlines() if arguments.keys else []
    keys = {line.partition("#")[0].strip().lower() for line in [*listed, *arguments.key]} - {""}
    paths = files_in(arguments.paths)
    if not keys or not paths:
        print("no keys that you trust" if paths else "no files there", file=sys.stderr)
        return 2
    result = verify(paths, keys, start=arguments.start, signed_after=arguments.signed_after)
    if arguments.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0 if result["whole"] else 1


if __name__ == "__main__":
    sys.exit(main())
