"""The verifier of one file: whatever is done to the files, it says that they are broken, and where.

The files are FileFlux's own: written by the archiver and the sequencer of the in-memory system.
"""

import asyncio
import gzip
import hashlib
import json
import random
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.archive_world import (
    AFTER_S,
    EVERY_S,
    KEY,
    all_steps,
    open_archive_world,
)

from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.checkpoint import (
    Checkpoint,
    decode_checkpoint,
    encode_checkpoint,
    sign_next,
)
from fileflux.metadata.record_lines import decode_line, line_of

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "examples/verify_audit.py"
PUBLIC = KEY.public_key().public_bytes_raw().hex()
Files = dict[str, bytes]


async def _made() -> tuple[Files, bytes]:
    """Return an archive's files, and the same records as an export."""
    world = await open_archive_world()
    sequencer = await world.sequencer()
    for _ in range(4):
        await world.write(4, sequencer)
        world.wait(AFTER_S + EVERY_S)
        await all_steps(await world.archiver())
    return dict(world.archive.objects), b"".join(map(line_of, world.published()))


ARCHIVE, EXPORT = asyncio.run(_made())
SEGMENTS = sorted(name for name in ARCHIVE if "/segments/" in name)
CHECKPOINTS = sorted(name for name in ARCHIVE if "/checkpoints/" in name)
RECORDS = 18
PROGRAM = runpy.run_path(str(SCRIPT))


def verified(tmp_path: Path, files: Files, keys: set[str] | None = None, **how: Any) -> Any:
    directory = tmp_path / hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    for name, body in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    directory.mkdir(exist_ok=True)
    found = PROGRAM["files_in"]([directory])
    return PROGRAM["verify"](found, {PUBLIC} if keys is None else keys, **how)


def positions(result: Any, kind: str) -> list[int]:
    return [fault["position"] for fault in result["faults"] if fault["kind"] == kind]


def export_files() -> Files:
    return {"export.jsonl": EXPORT} | {name: ARCHIVE[name] for name in CHECKPOINTS}


def checkpoints() -> list[Checkpoint]:
    lines = b"".join(ARCHIVE[name] for name in CHECKPOINTS).splitlines()
    return [decode_checkpoint(line) for line in lines]


def test_a_whole_archive_is_whole(tmp_path: Path) -> None:
    result = verified(tmp_path, ARCHIVE)

    assert result["faults"] == []
    assert result["whole"]
    assert (result["records"], result["last_position"]) == (RECORDS, RECORDS)
    assert result["checkpoints"] == len(checkpoints()) == 4
    assert result["signed_to"] == RECORDS


def test_a_whole_export_is_whole(tmp_path: Path) -> None:
    assert verified(tmp_path, export_files())["faults"] == []


def test_what_came_after_the_last_checkpoint_is_counted_and_not_signed(tmp_path: Path) -> None:
    files = {name: body for name, body in ARCHIVE.items() if name != CHECKPOINTS[-1]}
    result = verified(tmp_path, files)

    assert result["whole"]
    assert result["signed_to"] < result["last_position"] == RECORDS


def test_a_cut_end_with_its_checkpoints_shows_to_who_knows_what_time_it_is(tmp_path: Path) -> None:
    files = {n: body for n, body in ARCHIVE.items() if n not in (CHECKPOINTS[-1], SEGMENTS[-1])}
    last = checkpoints()[-1]

    assert verified(tmp_path, files)["whole"]
    assert not verified(tmp_path, files, signed_after=checkpoints()[-2].time)["whole"]
    seen = files | {"seen.jsonl": encode_checkpoint(last) + b"\n"}
    assert positions(verified(tmp_path, seen), "missing") == [last.position]


def test_without_a_checkpoint_nothing_is_proven(tmp_path: Path) -> None:
    result = verified(tmp_path, {name: ARCHIVE[name] for name in SEGMENTS})

    assert positions(result, "missing") == [0]


def test_a_range_is_verified_from_the_middle_by_the_checkpoints_behind_it(tmp_path: Path) -> None:
    lines = EXPORT.splitlines(keepends=True)
    files = export_files() | {"export.jsonl": b"".join(lines[7:])}

    assert verified(tmp_path, files, start=8)["faults"] == []
    changed = files | {"export.jsonl": b"".join([lines[7].replace(b"user", b"uses"), *lines[8:]])}
    assert not verified(tmp_path, changed, start=8)["whole"]
    assert positions(verified(tmp_path, files), "missing") == [1, *_before(8)]


def _before(position: int) -> list[int]:
    return [one.position for one in checkpoints() if one.position < position]


def test_segments_that_overlap_are_one_history_or_a_fault(tmp_path: Path) -> None:
    twice = {"main/segments/upto-7.jsonl": b"".join(EXPORT.splitlines(keepends=True)[:7])}
    assert verified(tmp_path, ARCHIVE | twice)["faults"] == []

    (body,) = twice.values()
    other = {"main/segments/upto-7.jsonl": body.replace(b"user", b"uses")}
    assert not verified(tmp_path, ARCHIVE | other)["whole"]


def _chained_anew(records: list[NumberedRecord]) -> bytes:
    """Return an export of a history that agrees with itself."""
    made, before = list[NumberedRecord](), records[0].previous_hash
    for record in records:
        payload = record.payload.replace(b"user", b"uses")
        made.append(replace(record, payload=payload, previous_hash=before))
        before = made[-1].chain_hash
    return b"".join(map(line_of, made))


@pytest.mark.parametrize("first", [0, 3])
def test_an_export_of_another_history_beside_the_archive_is_a_fault(
    tmp_path: Path, first: int
) -> None:
    """All of its positions are signed for; its name sorts behind the archive's files."""
    records = [decode_line(line) for line in EXPORT.splitlines()]
    for last in (first + 1, 7, RECORDS):
        forged = {"z-export.jsonl": _chained_anew(records[first:last])}
        result = verified(tmp_path, ARCHIVE | forged)
        assert positions(result, "changed")[-1:] == [last], (first, last)
        same = {"z-export.jsonl": b"".join(map(line_of, records[first:last]))}
        assert verified(tmp_path, ARCHIVE | same)["faults"] == []


def test_a_part_that_was_not_finished_is_no_file_yet(tmp_path: Path) -> None:
    part = {"main/segments/.upto-9-from-1.jsonl.gz.0000.part": b"half"}

    assert verified(tmp_path, ARCHIVE | part)["whole"]


def test_another_key_than_the_trusted_one_is_a_forgery(tmp_path: Path) -> None:
    """A whole history, signed by somebody else from the first checkpoint on."""
    thief = Ed25519PrivateKey.generate()
    signed = list[Checkpoint]()
    for one in checkpoints():
        signed.append(_signed_anew(thief, signed[-1] if signed else None, one))
    lines = b"".join(encode_checkpoint(one) + b"\n" for one in signed)
    files = {name: ARCHIVE[name] for name in SEGMENTS} | {"c.jsonl": lines}

    assert positions(verified(tmp_path, files), "forged") == [one.position for one in signed]
    trusted = {thief.public_key().public_bytes_raw().hex()}
    assert verified(tmp_path, files, trusted)["whole"]


def _signed_anew(key: Ed25519PrivateKey, before: Checkpoint | None, one: Checkpoint) -> Checkpoint:
    return sign_next(
        key,
        before,
        stream=one.stream,
        position=one.position,
        chain_hash=one.chain_hash,
        at_us=1_000_000 * one.number,
    )


def test_a_history_that_was_signed_anew_shows_beside_a_checkpoint_that_was_seen(
    tmp_path: Path,
) -> None:
    """By whoever holds the key: the chain's hashes cannot be those that others have seen."""
    seen = checkpoints()[1]
    forked = _signed_anew(KEY, checkpoints()[0], seen)
    files = ARCHIVE | {"seen.jsonl": encode_checkpoint(forked) + b"\n"}

    assert seen.position in positions(verified(tmp_path, files), "forged")


def test_old_keys_and_new_ones_verify_one_row(tmp_path: Path) -> None:
    new = Ed25519PrivateKey.generate()
    row = checkpoints()
    row[-1] = _signed_anew(new, row[-2], row[-1])
    lines = b"".join(encode_checkpoint(one) + b"\n" for one in row)
    files = {name: ARCHIVE[name] for name in SEGMENTS} | {"c.jsonl": lines}

    assert verified(tmp_path, files, {PUBLIC, new.public_key().public_bytes_raw().hex()})["whole"]
    assert positions(verified(tmp_path, files), "forged") == [row[-1].position]


# Whatever is done


def _unpacked(body: bytes) -> list[bytes]:
    return gzip.decompress(body).splitlines(keepends=True)


def _packed(lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(lines), mtime=0)


def _flip(line: bytes, rng: random.Random) -> bytes:
    """Change one character to another one that is not its other case or white space."""
    at = rng.randrange(len(line) - 1)
    return line[:at] + bytes((line[at] ^ 1,)) + line[at + 1 :]


def _change_record(files: Files, rng: random.Random) -> None:
    name = rng.choice(SEGMENTS)
    lines = _unpacked(files[name])
    at = rng.randrange(1, len(lines))
    lines[at] = _flip(lines[at], rng)
    files[name] = _packed(lines)


def _drop_record(files: Files, rng: random.Random) -> None:
    name = rng.choice(SEGMENTS)
    lines = _unpacked(files[name])
    del lines[rng.randrange(1, len(lines))]
    files[name] = _packed(lines)


def _swap_records(files: Files, rng: random.Random) -> None:
    name = rng.choice(SEGMENTS)
    lines = _unpacked(files[name])
    one, other = rng.sample(range(1, len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    files[name] = _packed(lines)


def _cut_records(files: Files, rng: random.Random) -> None:
    name = rng.choice(SEGMENTS)
    lines = _unpacked(files[name])
    files[name] = _packed(lines[: rng.randrange(len(lines))])


def _cut_segment(files: Files, rng: random.Random) -> None:
    name = rng.choice(SEGMENTS)
    files[name] = files[name][: rng.randrange(len(files[name]))]


def _damage_segment(files: Files, rng: random.Random) -> None:
    """Its bytes after gzip's own header, which says nothing of the records."""
    name = rng.choice(SEGMENTS)
    body = bytearray(files[name])
    body[rng.randrange(10, len(body))] ^= 1 << rng.randrange(8)
    files[name] = bytes(body)


def _drop_segment(files: Files, rng: random.Random) -> None:
    del files[rng.choice(SEGMENTS)]


def _rehashed(files: Files, rng: random.Random) -> None:
    """A change by somebody who knows the format: all hashes and the header are made to agree."""
    start = rng.randrange(len(SEGMENTS))
    last_hash = ""
    for number, name in enumerate(SEGMENTS[start:]):
        header, *lines = _unpacked(files[name])
        if number == 0:
            at = rng.randrange(len(lines))
            lines[at] = lines[at].replace(b'"operation":"', b'"operation":"Un', 1)
        made = []
        for line in lines:
            if last_hash:
                line = _with_previous(line, last_hash)
            previous = line.partition(b'"prevhash":"')[2][:64].decode()
            payload = b"{" + line.partition(b'"prevhash":"')[2][66:].rstrip(b"\n")
            last_hash = hashlib.sha256(bytes.fromhex(previous) + payload).hexdigest()
            made.append(line)
        told = json.loads(header) | {
            "previous_hash": made[0].partition(b'"prevhash":"')[2][:64].decode(),
            "chain_hash": last_hash,
            "digest": hashlib.sha256(b"".join(made)).hexdigest(),
        }
        files[name] = _packed([json.dumps(told).encode() + b"\n", *made])


def _with_previous(line: bytes, last_hash: str) -> bytes:
    before, named, after = line.partition(b'"prevhash":"')
    return before + named + last_hash.encode() + after[64:]


def _change_checkpoint(files: Files, rng: random.Random) -> None:
    name = rng.choice(CHECKPOINTS)
    lines = files[name].splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = _flip(lines[at], rng)
    files[name] = b"".join(lines)


def _drop_checkpoint(files: Files, rng: random.Random) -> None:
    """Not the last one: without it the end is only not signed."""
    del files[rng.choice(CHECKPOINTS[:-1])]


def _forge_checkpoint(files: Files, rng: random.Random) -> None:
    name = rng.choice(CHECKPOINTS)
    one = json.loads(files[name].splitlines()[0])
    member = rng.choice(["number", "position", "chain_hash", "time", "previous", "stream"])
    one[member] = {
        "number": one["number"] + rng.choice((-1, 1)),
        "position": one["position"] + rng.choice((-1, 1)),
        "time": "2020-01-01T00:00:00.000000Z",
        "stream": "other",
    }.get(member, rng.randbytes(32).hex())
    if rng.random() < 0.5:  # Signed, by a key that nobody trusts.
        thief = Ed25519PrivateKey.generate()
        one["key"] = thief.public_key().public_bytes_raw().hex()
        one["signature"] = thief.sign(PROGRAM["text_of"](one)).hex()
    files[name] = json.dumps(one).encode() + b"\n"


TAMPERINGS: list[Callable[[Files, random.Random], None]] = [
    _change_record,
    _drop_record,
    _swap_records,
    _cut_records,
    _cut_segment,
    _damage_segment,
    _drop_segment,
    _rehashed,
    _change_checkpoint,
    _drop_checkpoint,
    _forge_checkpoint,
]


@settings(max_examples=600, deadline=None)
@given(seed=st.integers(0, 1 << 32), tampering=st.sampled_from(TAMPERINGS))
def test_whatever_is_done_to_the_files_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    tampering: Callable[[Files, random.Random], None],
) -> None:
    files = dict(ARCHIVE)
    tampering(files, random.Random(seed))
    result = verified(tmp_path_factory.mktemp("files"), files)

    assert not result["whole"], tampering.__name__
    assert result["faults"]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32), how=st.sampled_from(["change", "drop", "swap", "cut"]))
def test_whatever_is_done_to_an_export_is_found(
    tmp_path_factory: pytest.TempPathFactory, seed: int, how: str
) -> None:
    rng, lines = random.Random(seed), EXPORT.splitlines(keepends=True)
    at, other = rng.sample(range(len(lines)), 2)
    if how == "change":
        lines[at] = _flip(lines[at], rng)
    elif how == "drop":
        del lines[at]
    elif how == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines = lines[:at]
    files = export_files() | {"export.jsonl": b"".join(lines)}

    assert not verified(tmp_path_factory.mktemp("files"), files)["whole"]


def test_a_missing_record_is_named_by_its_position(tmp_path: Path) -> None:
    lines = EXPORT.splitlines(keepends=True)
    del lines[8]

    assert 9 in positions(
        verified(tmp_path, export_files() | {"export.jsonl": b"".join(lines)}), "missing"
    )


# As a program


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_runs_alone_and_ends_as_it_says(tmp_path: Path) -> None:
    """-I: without our paths it could not import anything of FileFlux."""
    for name, body in ARCHIVE.items():
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{PUBLIC}  # since 2026-11-30T17:00:00+00:00\n")
    whole = run("--keys", str(keys), str(tmp_path / "archive"))
    (tmp_path / "archive" / SEGMENTS[1]).unlink()
    broken = run("--key", PUBLIC, "--json", str(tmp_path / "archive"))

    assert (whole.returncode, whole.stderr) == (0, "")
    assert "whole: 18 records" in whole.stdout
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["faults"][0]["kind"] == "missing"
    assert run("--key", PUBLIC, str(tmp_path / "nothing")).returncode == 1
    assert run(str(tmp_path / "archive")).returncode == 2


def test_it_imports_nothing_of_fileflux() -> None:
    text = SCRIPT.read_text()

    assert "import fileflux" not in text
    assert "from fileflux" not in text
