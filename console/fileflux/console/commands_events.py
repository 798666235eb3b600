"""`fileflux audit tail | search | export`: the log of every change, filtered."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fileflux.console import audit_export
from fileflux.console.audit_export import ExportRefused, LinesFile, LinesStream, Sink
from fileflux.console.audit_lines import line_of
from fileflux.console.audit_parquet import ParquetFile, load_pyarrow
from fileflux.console.audit_question import (
    NOW,
    START,
    Bucket,
    From,
    Operation,
    Prefix,
    Principal,
    Question,
    Range,
    Until,
    open_audit_reader,
    question,
    range_of,
)
from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.commands_audit import AsJsonLines, run_command
from fileflux.console.wiring import Surroundings
from fileflux.core.clock import SystemClock
from fileflux.metadata.audit_reader import AuditReader

STDOUT = "-"


class Format(StrEnum):
    """What `export` writes."""

    JSONL = "jsonl"
    PARQUET = "parquet"


def tail(
    start: From = START,
    until: Until = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    bucket: Bucket = "",
    prefix: Prefix = "",
    principal: Principal = "",
    operation: Operation = None,
    as_json: AsJsonLines = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print the numbered records from a position or time on, one a line.

    With --json each line is a CloudEvent in JSON; position and sequence are texts of 20 digits.

    Example: fileflux audit tail --from 1 --json

    Example: fileflux audit tail --from now --follow --bucket photos --operation DeleteObject
    """
    if follow and until:
        raise typer.BadParameter("--follow never ends, --until does: give one of them")
    asked = question(
        start, until, bucket=bucket, prefix=prefix, principal=principal, operation=operation
    )
    run_command(data_dir, lambda found: _print(found, asked, as_json=as_json, follow=follow))


def search(
    start: From = START,
    until: Until = "",
    limit: Annotated[int, typer.Option(help="Events at most.", min=1)] = 100,
    bucket: Bucket = "",
    prefix: Prefix = "",
    principal: Principal = "",
    operation: Operation = None,
    as_json: AsJsonLines = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Find events, the oldest first; say on standard error where to search on.

    Example: fileflux audit search --bucket photos --prefix 2026/ --operation DeleteObject

    Example: fileflux audit search --principal alice --from 2026-01-31 --until 2026-02-01 --json
    """
    asked = question(
        start, until, bucket=bucket, prefix=prefix, principal=principal, operation=operation
    )
    run_command(data_dir, lambda found: _print(found, asked, as_json=as_json, limit=limit))


def export(
    output: Annotated[str, typer.Option("--output", "-o", help="A file; - is standard output.")],
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSONL,
    start: From = START,
    until: Until = NOW,
    bucket: Bucket = "",
    prefix: Prefix = "",
    principal: Principal = "",
    operation: Operation = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file; forget an unfinished export.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write events to a file: JSON lines (CloudEvents), or Parquet where pyarrow is installed.

    The file is whole or not there. An export of JSON lines that was stopped goes on where it was
    when the same is asked again.

    Example: fileflux audit export --output events.jsonl

    Example: fileflux audit export -o photos.parquet --format parquet --bucket photos
    """
    asked = question(
        start, until or NOW, bucket=bucket, prefix=prefix, principal=principal, operation=operation
    )
    if output == STDOUT and (format_ is Format.PARQUET or as_json):
        raise typer.BadParameter("standard output takes the JSON lines alone: name a file")
    run_command(
        data_dir,
        lambda found: _export(found, asked, output, format_, force=force, as_json=as_json),
        interrupted=1,
    )


async def _print(
    found: Surroundings,
    asked: Question,
    *,
    as_json: bool,
    follow: bool = False,
    limit: int | None = None,
) -> int:
    async with open_audit_reader(found) as reader:
        where = await range_of(asked, reader)
        clock = SystemClock() if follow else None
        count = 0
        async for run in reader.pages(where.start, until=where.until, follow=clock):
            for record in run:
                opened = where.wanted.open(record)
                if opened is None:
                    continue
                typer.echo(line_of(opened, as_json=as_json))
                count += 1
                if count == limit:
                    typer.echo(f"{count} events; more with --from {record.position + 1}", err=True)
                    return 0
    if limit is not None:
        typer.echo(f"{count} events, no more", err=True)
    return 0


async def _export(
    found: Surroundings,
    asked: Question,
    output: str,
    format_: Format,
    *,
    force: bool,
    as_json: bool,
) -> int:
    async with open_audit_reader(found) as reader:
        where, sink = await _sink(reader, asked, output, format_, force=force)
        first = sink.position
        try:
            with _progress(first, where) as progress:
                await audit_export.export(reader, where, sink, progress)
        finally:
            sink.close()
    done = {"events": sink.count, "file": output, "from": where.start, "until": where.until}
    if as_json:
        typer.echo(json.dumps(done))
    else:
        resumed = f", resumed at {first}" if first != where.start else ""
        typer.echo(
            f"{sink.count} events of positions {where.start} to {(where.until or 1) - 1}"
            f"{resumed}: {output}",
            err=True,
        )
    return 0


async def _sink(
    reader: AuditReader, asked: Question, output: str, format_: Format, *, force: bool
) -> tuple[Range, Sink]:
    """Open where the events go; an unfinished file keeps the end that it was begun with."""
    if output == STDOUT:
        where = await range_of(asked, reader)
        return where, LinesStream(sys.stdout.buffer, start=where.start)
    path = Path(output)
    if format_ is Format.PARQUET:
        load_pyarrow()
    audit_export.clear(path, force=force)
    where = await range_of(asked, reader)
    if format_ is Format.PARQUET:
        return where, ParquetFile(path, start=where.start)
    said = audit_export.question_as_json(asked)
    saved = audit_export.saved_of(path)
    if saved is not None and saved.question != said:
        raise ExportRefused(f"an export of something else to {path} is unfinished: --force ends it")
    if saved is not None:
        where = Range(saved.start, saved.until, where.wanted)
    assert where.until is not None, "an export ends"
    return where, LinesFile(path, said, start=where.start, until=where.until, saved=saved)


@contextmanager
def _progress(first: int, where: Range) -> Iterator[audit_export.Progress]:
    """A bar on standard error, if that is a terminal."""
    columns = (TextColumn("positions"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    total = max(1, (where.until or first) - where.start)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, completed=first - where.start)
        yield lambda position: bar.update(task, completed=position - where.start)
