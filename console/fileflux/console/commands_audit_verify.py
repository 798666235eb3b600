"""`fileflux audit verify`: the whole audit stream, wherever it lies."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.wiring import (
    NoSurroundings,
    Surroundings,
    find_surroundings,
    open_broker,
    open_metadata,
)
from fileflux.core.clock import SystemClock
from fileflux.core.errors import FileFluxError
from fileflux.events.topics import AUDIT, AUDIT_CHECKPOINTS
from fileflux.metadata.audit_log import Verification
from fileflux.metadata.audit_verify import Everywhere, NoSuchCheckpoint, verify_everywhere
from fileflux.metadata.checkpoint import KEY_SIZE
from fileflux.metadata.sequencer import STREAM

COULD_NOT: Final = 3
VERIFY_EXIT_CODES: Final = (
    "Exit codes: 0 whole, 1 broken (each fault is listed), 2 wrong arguments, "
    "3 could not be verified (the message says who did not answer)."
)


def verify(
    wait_s: Annotated[
        float,
        typer.Option("--wait", help="Seconds that the topic may take to catch up.", min=0.0),
    ] = 10.0,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", help="Only this public key may have signed (repeatable)."),
    ] = None,
    from_checkpoint: Annotated[
        int | None,
        typer.Option(
            "--from-checkpoint",
            help="Begin behind what this checkpoint (its number) was signed for.",
            min=1,
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Prove that nothing is missing, changed or reordered: database, topic, archive, checkpoints.

    Each fault is printed with its position. What is numbered and not published yet after --wait is
    counted apart: that is no fault, but see that the sequencer runs. The archive is the one that
    FILEFLUX_ARCHIVE_URL names. Without --key, checkpoints may be signed by any key that the
    database lists (`fileflux audit key public`).

    --from-checkpoint proves only what came later, for who verified up to there before: the
    checkpoint's own signature counts as that of any other. Sequences are then counted from the
    first record of each bucket behind it.

    Example: fileflux audit verify

    Example: fileflux audit verify --wait 60 --json

    Example: fileflux audit verify --from-checkpoint 1440 --key 03a1…
    """
    pinned = None if keys is None else [_key_of(text) for text in keys]
    try:
        found = asyncio.run(
            _verified(data_dir, wait_s=wait_s, keys=pinned, from_checkpoint=from_checkpoint)
        )
    except NoSuchCheckpoint as error:
        raise typer.BadParameter(str(error)) from None
    except (NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(COULD_NOT) from None
    typer.echo(json.dumps(as_object(found)) if as_json else "\n".join(as_lines(found)))
    raise typer.Exit(0 if found.is_whole else 1)


def _key_of(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise typer.BadParameter(f"a public key has {2 * KEY_SIZE} hexadecimal digits")
    return key


async def _verified(
    data_dir: Path, *, wait_s: float, keys: list[bytes] | None, from_checkpoint: int | None
) -> Everywhere:
    found: Surroundings = find_surroundings(data_dir)
    async with open_metadata(found) as metadata, open_broker(found) as broker:
        return await verify_everywhere(
            metadata.reader,
            topic=await broker.source([(AUDIT, 0)]),
            checkpoints=await broker.source([(AUDIT_CHECKPOINTS, 0)]),
            archive=metadata.archive,
            stream=STREAM,
            keys=keys,
            clock=SystemClock(),
            wait_s=wait_s,
            from_checkpoint=from_checkpoint,
        )


def as_lines(found: Everywhere) -> list[str]:
    """Return what a person reads."""
    lines = [*verdict("database", found.database), *verdict("topic", found.topic)]
    if found.start is not None:
        begun = f"behind position {found.start.position}, which checkpoint {found.start.number}"
        lines.insert(0, f"begun     {begun} was signed for")
    if found.archive is not None:
        lines += verdict("archive", found.archive)
    elif found.not_looked_at:
        lines.append(
            f"archive   {found.not_looked_at} records, not looked at: set FILEFLUX_ARCHIVE_URL"
        )
    if not (found.checkpoints.record_count or found.checkpoints.faults):
        return [*lines, "signed    nothing: FILEFLUX_AUDIT_KEY_FILE lets the sequencer do it"]
    lines += verdict("signed", found.checkpoints, what="checkpoints")
    return [*lines, f"  up to position {found.signed_to}"]


def verdict(name: str, one: Verification, *, what: str = "records") -> list[str]:
    """Return what a person reads about one place."""
    mark = "broken" if one.faults else "whole"
    lines = [f"{name:<9} {one.record_count} {what}, {mark}"]
    lines += [f"  position {f.position}: {f.kind} {f.detail}" for f in one.faults]
    if one.unpublished:
        lines.append(
            f"  {one.unpublished} more are numbered and not published yet: "
            "see that the sequencer runs (fileflux doctor)"
        )
    return lines


def as_object(found: Everywhere) -> dict[str, Any]:
    """Return what a script reads."""
    return {
        "whole": found.is_whole,
        "behind": 0 if found.start is None else found.start.position,
        "database": _place(found.database),
        "topic": _place(found.topic),
        "archive": None if found.archive is None else _place(found.archive),
        "not_looked_at": found.not_looked_at,
        "checkpoints": {**_place(found.checkpoints), "signed_to": found.signed_to},
    }


def _place(one: Verification) -> dict[str, Any]:
    faults = [{"position": f.position, "kind": f.kind, "detail": f.detail} for f in one.faults]
    return {"records": one.record_count, "faults": faults, "unpublished": one.unpublished}
