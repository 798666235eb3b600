"""`fileflux audit tail | verify` and `fileflux trace`: the log of every change, read by people."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.commands_audit_key import app as key_app
from fileflux.console.commands_audit_verify import VERIFY_EXIT_CODES, verify
from fileflux.console.upload_story import as_json as story_as_json
from fileflux.console.upload_story import printable, reasons_of, show_hops, show_places
from fileflux.console.wiring import (
    NoSurroundings,
    Surroundings,
    find_surroundings,
    open_broker,
    open_metadata,
)
from fileflux.core.clock import SystemClock
from fileflux.core.errors import FileFluxError
from fileflux.metadata.audit_log import (
    Trace,
    read_database,
)
from fileflux.metadata.audit_log import trace as find_trace
from fileflux.metadata.chain import FIRST_POSITION, NumberedRecord

app = typer.Typer(help="The audit stream: read it, verify it.", no_args_is_help=True)
app.command("verify", epilog=VERIFY_EXIT_CODES)(verify)
app.add_typer(key_app, name="key")

AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]


@app.command("tail", epilog=EXIT_CODES)
def tail(
    start: Annotated[int, typer.Option("--from", help="First position.", min=1)] = FIRST_POSITION,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    as_json: AsJsonLines = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print the numbered records from a position on, one a line.

    Example: fileflux audit tail --from 1 --json

    Example: fileflux audit tail --from 5000 --follow
    """
    _run(data_dir, lambda found: _tail(found, start, follow=follow, as_json=as_json))


def trace(
    name: Annotated[str, typer.Argument(help="BUCKET/KEY of an object.")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show the last upload of a key on its way through the pipeline, with the time of each hop.

    Example: fileflux trace photos/2026/cat.jpg

    Example: fileflux trace photos/2026/cat.jpg --json
    """
    _run(data_dir, lambda found: _trace(found, name, as_json=as_json))


async def _tail(found: Surroundings, start: int, *, follow: bool, as_json: bool) -> int:
    async with open_metadata(found) as metadata:
        clock = SystemClock() if follow else None
        async for record in read_database(metadata.reader, first_position=start, follow=clock):
            typer.echo(_line(record, as_json=as_json))
    return 0


def _line(record: NumberedRecord, *, as_json: bool) -> str:
    stored = json.loads(record.payload)
    if as_json:
        return json.dumps({"position": record.position, "sequence": record.sequence, **stored})
    data = stored["data"]
    name = "/".join(filter(None, (data["bucket"], data.get("key", data.get("key_base64")))))
    who = data["actor"].get("user_name", "")
    outcome = data["facts"].get("outcome", "")
    what = f"{stored['time']} {data['operation']:<22} {outcome:<6}"
    return f"{record.position:>8} {what} {printable(f'{who} {name}')}"


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


def _run(data_dir: Path, ask: Callable[[Surroundings], Awaitable[int]]) -> None:
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
        code = 0
    raise typer.Exit(code)
