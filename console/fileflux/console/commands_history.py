"""`fileflux digest | diff`: whether two databases are the same, and what changed in a bucket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import typer

from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.commands_rebuild import until_option
from fileflux.console.ending import end_with
from fileflux.console.times import time_text
from fileflux.console.upload_story import printable
from fileflux.console.wiring import (
    NoSurroundings,
    find_surroundings,
    known_surroundings,
    open_metadata,
)
from fileflux.metadata.audit_facts import key_facts
from fileflux.metadata.bucket_diff import KeyChange, bucket_diff
from fileflux.metadata.digest import Difference, Digest, differences, digest_of
from fileflux.metadata.postgres_snapshot import open_snapshot
from fileflux.metadata.rebuild import EVERYTHING
from fileflux.metadata.snapshot import Snapshot

MARKS: Final = {"added": "+", "replaced": "~", "deleted": "-"}


def digest(
    dsn: Annotated[
        str, typer.Option("--dsn", help="postgresql:// address; otherwise DATABASE_URL.")
    ] = "",
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", help="Two addresses: name the rows that differ."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Differences that are shown.", min=1)] = 100,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Digest all audited rows of a database, or compare two databases row by row.

    The digest depends on the rows alone, not on where or in which order they lie. With --compare
    it ends with 0 when all rows are the same, with 1 when some differ.

    Example: fileflux digest --json

    Example: fileflux digest --compare postgresql://db/fileflux postgresql://db/rebuilt
    """

    async def work() -> int:
        if compare is not None:
            return await _compare(*compare, limit=limit, as_json=as_json)
        return await _digest(dsn or _database_url(data_dir), as_json=as_json)

    end_with(work)


def diff(
    bucket: Annotated[str, typer.Argument(help="Name of a bucket.")],
    start: Annotated[
        str, typer.Option("--from", help="Position or time; otherwise the beginning.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Position or time; otherwise now.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, for scripts.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show what changed in a bucket between two moments: keys added, replaced, deleted; by whom.

    A moment is a position of the audit stream, or a time of RFC 3339. What happened at --from
    itself is not shown, what happened at --to is.

    Example: fileflux diff photos --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z

    Example: fileflux diff photos --from 1200 --json
    """
    first = until_option(start) if start else EVERYTHING
    last = until_option(end) if end else EVERYTHING

    async def work() -> int:
        async with open_metadata(find_surroundings(data_dir)) as metadata:
            found = await bucket_diff(metadata.reader, bucket, start=first, end=last)
        for one in found:
            typer.echo(json.dumps(_change_as_json(one)) if as_json else _change_line(one))
        if not as_json:
            typer.echo(_summary(found), err=True)
        return 0

    end_with(work)


def _database_url(data_dir: Any) -> str:
    found = known_surroundings(data_dir).database_url
    if not found:
        raise NoSurroundings("which database? Give --dsn, or set DATABASE_URL")
    return found


@asynccontextmanager
async def _both(first: str, second: str) -> AsyncIterator[tuple[Snapshot, Snapshot]]:
    async with open_snapshot(first) as one, open_snapshot(second) as other:
        yield one, other


async def _digest(dsn: str, *, as_json: bool) -> int:
    async with open_snapshot(dsn) as snapshot:
        found = await digest_of(snapshot)
    if as_json:
        typer.echo(json.dumps(_digest_as_json(found)))
        return 0
    for table, one in found.tables.items():
        typer.echo(f"{table:<14} {one.rows:>12} {one.digest}")
    typer.echo(f"{'all':<14} {'':>12} {found.whole}")
    typer.echo(f"up to position {found.head.next_position - 1}, {found.head.chain_hash.hex()}")
    if found.waiting:
        typer.echo(f"{found.waiting} transactions beyond it are not numbered yet; they count here")
    return 0


async def _compare(first: str, second: str, *, limit: int, as_json: bool) -> int:
    counts: dict[str, int] = {}
    shown: list[Difference] = []
    async with _both(first, second) as (one, other):
        positions = [(await each.head()).next_position - 1 for each in (one, other)]
        async for found in differences(one, other):
            counts[found.table] = counts.get(found.table, 0) + 1
            if len(shown) < limit:
                shown.append(found)
    if as_json:
        listed = [_difference_as_json(found) for found in shown]
        typer.echo(json.dumps({"positions": positions, "counts": counts, "differences": listed}))
        return int(bool(counts))
    for found in shown:
        typer.echo(_difference_line(found))
    total = sum(counts.values())
    if total > len(shown):
        typer.echo(f"… and {total - len(shown)} more")
    tables = ", ".join(f"{table} {count}" for table, count in counts.items())
    typer.echo(f"{total} rows differ: {tables}" if total else "every row is the same")
    typer.echo(f"the streams stand at positions {positions[0]} and {positions[1]}")
    return int(bool(total))


def _digest_as_json(found: Digest) -> dict[str, Any]:
    return {
        "position": found.head.next_position - 1,
        "chain_hash": found.head.chain_hash.hex(),
        "waiting": found.waiting,
        "tables": {t: {"rows": one.rows, "digest": one.digest} for t, one in found.tables.items()},
        "digest": found.whole,
    }


def _difference_as_json(found: Difference) -> dict[str, Any]:
    return {
        "table": found.table,
        "key": list(found.key),
        "kind": found.kind,
        "fields": list(found.fields),
    }


def _difference_line(found: Difference) -> str:
    where = {"missing": "only in the first", "extra": "only in the second"}
    what = where.get(found.kind) or f"differs in {', '.join(found.fields)}"
    key = " ".join(str(part) for part in found.key)
    return f"{found.table:<14} {printable(key)}: {what}"


def _change_as_json(one: KeyChange) -> dict[str, Any]:
    return {
        "change": one.kind,
        **key_facts(one.key),
        "size_before": one.size_before,
        "size_after": one.size_after,
        "etag": one.etag or None,
        "version": one.version or None,
        "position": one.position,
        "time": time_text(one.at_us),
        "operation": one.operation,
        "user": one.user_name,
    }


def _change_line(one: KeyChange) -> str:
    sizes = " → ".join("·" if s is None else str(s) for s in (one.size_before, one.size_after))
    key = one.key.decode(errors="backslashreplace")
    return (
        f"{MARKS[one.kind]} {time_text(one.at_us)} {one.position:>8} {sizes:<24} "
        f"{one.etag or '·':<36} {printable(f'{one.user_name} {key}')}"
    )


def _summary(found: list[KeyChange]) -> str:
    counts = {kind: sum(one.kind == kind for one in found) for kind in MARKS}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())
