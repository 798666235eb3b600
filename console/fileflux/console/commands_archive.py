"""`fileflux archive`: fill the archive of the audit stream, and see what it holds."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.wiring import (
    NoSurroundings,
    Surroundings,
    archive_of,
    archive_settings,
    find_surroundings,
    open_broker,
    open_metadata,
)
from fileflux.core.clock import SystemClock
from fileflux.core.errors import FileFluxError
from fileflux.metadata.archive import SEGMENTS, Span, span_of
from fileflux.metadata.archiver import Archiver
from fileflux.metadata.ports import ArchiveHead
from fileflux.metadata.sequencer import STREAM

app = typer.Typer(help="The audit stream's archive: fill it, list it.", no_args_is_help=True)

PAGE: Final = 1_000


@app.command("run", epilog=EXIT_CODES)
def run(
    once: Annotated[
        bool, typer.Option("--once", help="Archive whatever is published, then end.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="With --once: the archive lost what it had; write what there is."
        ),
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Copy published ranges to the archive; what is archived and old leaves the database.

    The archive is the one that FILEFLUX_ARCHIVE_URL names. The sequencer does the same by itself
    where it has that setting; several that run at once write one history.

    Example: fileflux archive run

    Example: fileflux archive run --once --json
    """
    if again and not once:
        raise typer.BadParameter("--again goes with --once")
    found = _answered(_surroundings(data_dir))
    if once:
        head = _answered(_archived_once(found, again=again))
        typer.echo(json.dumps(_as_object(head)) if as_json else _reached(head))
        return
    environment = {
        **os.environ,
        "DATABASE_URL": found.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": found.kafka_bootstrap_servers,
    }
    command = [sys.executable, "-m", "fileflux.metadata", "archiver"]
    os.execve(sys.executable, command, environment)  # noqa: S606  # Our own.


@app.command("list", epilog=EXIT_CODES)
def list_segments(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print the archive's segments, one a line, and what the database still has.

    Example: fileflux archive list

    Example: fileflux archive list --json
    """
    names, head = _answered(_listed(data_dir))
    if as_json:
        segments = [{"name": name, **asdict(span)} for name, span in names]
        typer.echo(json.dumps({"segments": segments, **_as_object(head)}))
        return
    for name, span in names:
        typer.echo(f"{span.first:>12} - {span.last:<12} {name}")
    typer.echo(_reached(head))


def _as_object(head: ArchiveHead) -> dict[str, int]:
    return {"archived_to": head.next_position - 1, "kept_from": head.kept_from}


def _reached(head: ArchiveHead) -> str:
    return (
        f"archived up to position {head.next_position - 1}; "
        f"the database has everything from position {head.kept_from} on"
    )


async def _surroundings(data_dir: Path) -> Surroundings:
    return find_surroundings(data_dir)


async def _archived_once(found: Surroundings, *, again: bool) -> ArchiveHead:
    settings = archive_settings(found)
    async with open_metadata(found) as metadata, open_broker(found) as broker:
        reader = metadata.database_reader
        archiver = Archiver(
            database=metadata.database,
            reader=reader,
            source=await broker.lookup(),
            archive=archive_of(metadata),
            clock=SystemClock(),
            stream=STREAM,
            after_s=0.0,
            keep_s=settings.archive_keep_s,
        )
        if again:
            await archiver.begin_again()
        while await archiver.step():
            pass
        return await reader.archive_head(STREAM)


async def _listed(data_dir: Path) -> tuple[list[tuple[str, Span]], ArchiveHead]:
    async with open_metadata(find_surroundings(data_dir)) as metadata:
        archive, found = archive_of(metadata), list[tuple[str, Span]]()
        prefix, after = f"{STREAM}/{SEGMENTS}/", ""
        while names := await archive.names(prefix, after=after, limit=PAGE):
            found += [(name, span) for name in names if (span := span_of(name)) is not None]
            after = names[-1]
        return found, await metadata.reader.archive_head(STREAM)


def _answered(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a question; end the command with 1 and a sentence when it cannot be answered."""
    try:
        return asyncio.run(work)
    except (NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
