"""`fileflux audit verify` and `fileflux trace`: the log of every change, read by people."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.commands_audit_key import app as key_app
from fileflux.console.commands_audit_verify import VERIFY_EXIT_CODES, verify
from fileflux.console.upload_story import as_json as story_as_json
from fileflux.console.upload_story import reasons_of, show_hops, show_places
from fileflux.console.wiring import (
    NoSurroundings,
    Surroundings,
    find_surroundings,
    open_broker,
    open_metadata,
)
from fileflux.core.errors import FileFluxError
from fileflux.metadata.audit_log import Trace
from fileflux.metadata.audit_log import trace as find_trace

app = typer.Typer(help="The audit stream: read it, verify it.", no_args_is_help=True)
app.command("verify", epilog=VERIFY_EXIT_CODES)(verify)
app.add_typer(key_app, name="key")

AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]


def trace(
    name: Annotated[str, typer.Argument(help="BUCKET/KEY of an object.")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show the last upload of a key on its way through the pipeline, with the time of each hop.

    Example: fileflux trace photos/2026/cat.jpg

    Example: fileflux trace photos/2026/cat.jpg --json
    """
    run_command(data_dir, lambda found: _trace(found, name, as_json=as_json))


async def _trace(found: Surroundings, name: str, *, as_json: bool) -> int:
    bucket, _, key = name.partition("/")
    traced = await trace_of(found, bucket, key.encode())
    if traced is None:
        typer.echo(f"there is no {name}", err=True)
        return 1
    async with open_broker(found) as broker:
        reasons = await reasons_of(broker, traced.record)
    if as_json:
        typer.echo(json.dumps(story_as_json(traced, reasons)))
    else:
        out = Console(highlight=False)
        show_places(out, traced.record, reasons)
        show_hops(out, traced)
    return 0


async def trace_of(found: Surroundings, bucket: str, key: bytes) -> Trace | None:
    """The way of the key's current version; None if there is no such key."""
    async with open_metadata(found) as metadata:
        return await find_trace(metadata.reader, bucket=bucket, key=key)


def run_command(
    data_dir: Path, ask: Callable[[Surroundings], Awaitable[int]], *, interrupted: int = 0
) -> None:
    """Ask, and end the command with what `ask` returns, or 1 and a sentence when it could not.

    `interrupted`: the exit code when a person stops it.
    """

    async def work() -> int:
        return await ask(find_surroundings(data_dir))

    try:
        code = asyncio.run(work())
    except BrokenPipeError:
        # Whoever read our lines has enough of them (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        code = interrupted
    raise typer.Exit(code)
