"""`fileflux restore`: a bucket, or the keys under a prefix, as they were."""

import json
import os
import random
from dataclasses import replace
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from fileflux.console.admin import OPERATOR
from fileflux.console.command_help import DEFAULT_DATA_DIR, DataDir
from fileflux.console.commands_rebuild import until_option
from fileflux.console.ending import end_with
from fileflux.console.restore_progress import RestoreProgress
from fileflux.console.times import time_text
from fileflux.console.upload_story import printable
from fileflux.console.wiring import Metadata, database_surroundings, open_metadata
from fileflux.core.clock import SystemClock
from fileflux.core.ids import BucketId, new_id
from fileflux.metadata.audit_facts import key_facts
from fileflux.metadata.restore import Reports, Restore, Restored, Wanted
from fileflux.metadata.restore_plan import KINDS, KeyFate, Kind
from fileflux.metadata.salvage_claims import KEY_SIZE_BYTES_MAX

ACTOR: Final = replace(OPERATOR, user_agent="fileflux restore")
ON_AGAIN: Final = "stopped; the same command goes on where it was"
MARKS: Final[dict[Kind, str]] = {
    "create": "+",
    "replace": "~",
    "delete": "-",
    "kept": "=",
    "skipped": "?",
    "impossible": "!",
}


def restore(
    place: Annotated[
        str, typer.Argument(metavar="BUCKET[/PREFIX]", help="What is to be brought back.")
    ],
    as_of: Annotated[
        str, typer.Option("--as-of", help="Position of the audit stream, or a time (RFC 3339).")
    ],
    delete_newer: Annotated[
        bool, typer.Option("--delete-newer", help="Delete keys that were made after that moment.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line; the last is the summary.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Bring a bucket, or the keys under a prefix, back as they were at a moment.

    Each key that changed since becomes a new version with the bytes, ETag and metadata of then, by
    an audited change of its own, as long as no node was told to remove the bytes. Keys that were
    made since stay, unless --delete-newer. A key that somebody writes while the restore runs stays
    as it was written. A bucket that was deleted is made again. Stopped or killed, the same command
    goes on; done, it changes nothing more.

    Lines begin with + created, ~ replaced, - deleted, = newer and kept, ? written meanwhile and
    left alone, ! impossible, with the reason. Ends with 1 when something is impossible.

    Example: fileflux restore photos --as-of 2026-03-01T12:00:00Z --dry-run

    Example: fileflux restore photos/2026/ --as-of 1200 --delete-newer --json
    """
    moment = until_option(as_of)
    bucket, _, prefix = place.partition("/")
    if not bucket or not bucket.isascii():
        raise typer.BadParameter(f"{place!r} names no bucket: photos, or photos/2026/")
    if len(os.fsencode(prefix)) > KEY_SIZE_BYTES_MAX:
        raise typer.BadParameter(f"no key is longer than {KEY_SIZE_BYTES_MAX} bytes, nor a prefix")
    wanted = Wanted(
        bucket, moment, os.fsencode(prefix), deletes_newer=delete_newer, dry_run=dry_run
    )
    tell = _tell_json if as_json else _tell_line

    async def work() -> int:
        async with open_metadata(database_surroundings(data_dir)) as metadata:
            with RestoreProgress(Console(stderr=True, highlight=False)) as bar:
                reports = Reports(key=tell, read=bar.read, done=bar.done)
                done = await _run(metadata, wanted, reports)
        if as_json:
            typer.echo(json.dumps({"summary": _summary_as_json(done, wanted)}))
        else:
            typer.echo("\n".join(_summary(done, wanted)), err=True)
        return int(bool(done.counts.get("impossible")))

    end_with(work, interrupted=ON_AGAIN)


async def _run(metadata: Metadata, wanted: Wanted, reports: Reports) -> Restored:
    rng = random.SystemRandom()

    async def announce(bucket_id: BucketId, next_position: int) -> None:
        await metadata.webhooks.mark_bucket(bucket_id, new_id(rng), next_position)

    run = Restore(
        metadata.reader,
        metadata.database,
        metadata.direct,
        actor=ACTOR,
        clock=SystemClock(),
        rng=rng,
        reports=reports,
        announce=announce,
    )
    return await run.run(wanted)


def _tell_line(fate: KeyFate) -> None:
    if fate.kind == "unchanged":
        return
    key = printable(fate.key.decode(errors="backslashreplace"))
    reason = f": {fate.reason}" if fate.reason else ""
    typer.echo(f"{MARKS[fate.kind]} {fate.size:>12} {key}{reason}")


def _tell_json(fate: KeyFate) -> None:
    told: dict[str, Any] = {
        "change": fate.kind,
        **key_facts(fate.key),
        "size": fate.size,
        "etag": fate.etag,
        "version": fate.version,
        "reason": fate.reason or None,
    }
    typer.echo(json.dumps(told))


def _summary(done: Restored, wanted: Wanted) -> list[str]:
    began = "would be restored" if wanted.dry_run else "restored"
    place = printable(f"{wanted.bucket}/{wanted.prefix.decode(errors='backslashreplace')}")
    lines = [f"{place} {began} as of position {done.position}"]
    if done.makes_bucket:
        lines.append("the bucket was deleted, and is made again under its name")
    lines += [
        f"  {kind:<10} {done.counts[kind]:>10} keys {done.sizes[kind]:>16} bytes"
        for kind in KINDS
        if done.counts.get(kind)
    ]
    if done.kept_until_us is not None:
        lines.append(
            f"the bytes that come back are kept until {time_text(done.kept_until_us)} at least"
        )
    return lines


def _summary_as_json(done: Restored, wanted: Wanted) -> dict[str, Any]:
    kept_us = done.kept_until_us
    return {
        "bucket": wanted.bucket,
        **key_facts(wanted.prefix, "prefix"),
        "position": done.position,
        "dry_run": wanted.dry_run,
        "makes_bucket": done.makes_bucket,
        "keys": {kind: done.counts.get(kind, 0) for kind in KINDS},
        "bytes": {kind: done.sizes.get(kind, 0) for kind in KINDS},
        "kept_until": None if kept_us is None else time_text(kept_us),
    }
