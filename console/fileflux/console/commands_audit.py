"""`fileflux audit verify` and `fileflux trace`: the log of every change, read by people."""

import json
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.commands_audit_key import app as key_app
from fileflux.console.commands_audit_verify import VERIFY_EXIT_CODES, verify
from fileflux.console.ending import end_with
from fileflux.console.upload_deliveries import attempt_hops, deliveries_of
from fileflux.console.upload_story import as_json as story_as_json
from fileflux.console.upload_story import (
    reasons_of,
    show_deliveries,
    show_hops,
    show_places,
    show_request,
)
from fileflux.console.wiring import (
    Surroundings,
    find_surroundings,
    open_broker,
    open_metadata,
)
from fileflux.metadata.audit_find import SEARCHED_MAX, newest_trace, trace_at
from fileflux.metadata.audit_log import Trace
from fileflux.metadata.audit_log import trace as find_trace
from fileflux.metadata.ports import MetadataReader

app = typer.Typer(help="The audit stream: read it, verify it.", no_args_is_help=True)
app.command("verify", epilog=VERIFY_EXIT_CODES)(verify)
app.add_typer(key_app, name="key")

REQUEST_ID: Final = re.compile("[0-9A-Za-z-]{1,64}")
TRACE_ID: Final = re.compile("[0-9a-f]{32}")

AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]


def trace(
    name: Annotated[str, typer.Argument(help="BUCKET/KEY of an object.")] = "",
    position: Annotated[
        int, typer.Option(min=0, help="Instead: the change at this audit position.")
    ] = 0,
    request_id: Annotated[
        str, typer.Option(help="Instead: the change that this request made.")
    ] = "",
    trace_id: Annotated[
        str, typer.Option(help="Instead: the last change in this trace (W3C, 32 digits).")
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show the last upload of a key, from its request over bundles and nodes to its deliveries.

    Example: fileflux trace photos/2026/cat.jpg

    Example: fileflux trace photos/2026/cat.jpg --json

    Example: fileflux trace --position 4711

    Example: fileflux trace --request-id 0A1B2C3D4E5F6071

    Example: fileflux trace --trace-id 4bf92f3577b34da6a3ce929d0e0e4736
    """
    asked = _Asked(name, position, request_id, trace_id)
    if problem := asked.problem():
        typer.echo(problem, err=True)
        raise typer.Exit(2)
    run_command(data_dir, lambda found: _trace(found, asked, as_json=as_json))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a person names a change by: one of the four."""

    name: str
    position: int
    request_id: str
    trace_id: str

    def problem(self) -> str | None:
        if sum(map(bool, (self.name, self.position, self.request_id, self.trace_id))) != 1:
            return "name one of: BUCKET/KEY, --position, --request-id, --trace-id"
        if self.request_id and not REQUEST_ID.fullmatch(self.request_id):
            return "a request id has letters, digits and - only, as in x-amz-request-id"
        if self.trace_id and not TRACE_ID.fullmatch(self.trace_id):
            return "a trace id has 32 hexadecimal digits, in small letters"
        return None

    def __str__(self) -> str:
        if self.position:
            return f"audit position {self.position}"
        if self.request_id or self.trace_id:
            what = f"request {self.request_id}" if self.request_id else f"trace {self.trace_id}"
            return f"change by {what} among the newest {SEARCHED_MAX}"
        return self.name

    async def find(self, reader: MetadataReader) -> Trace | None:
        if self.position:
            return await trace_at(reader, self.position)
        if self.request_id:
            return await newest_trace(reader, "request_id", self.request_id)
        if self.trace_id:
            return await newest_trace(reader, "trace_id", self.trace_id)
        bucket, _, key = self.name.partition("/")
        # A key need not be text: the bytes of the command line, as they were.
        return await find_trace(reader, bucket=bucket, key=os.fsencode(key))


async def _trace(found: Surroundings, asked: _Asked, *, as_json: bool) -> int:
    async with open_metadata(found) as metadata:
        traced = await asked.find(metadata.reader)
    if traced is None:
        typer.echo(f"there is no {asked}", err=True)
        return 1
    async with open_broker(found) as broker:
        reasons = await reasons_of(broker, traced.record)
    deliveries = await deliveries_of(found, traced)
    if as_json:
        typer.echo(json.dumps(story_as_json(traced, reasons, deliveries)))
    else:
        out = Console(highlight=False)
        show_places(out, traced.record, reasons)
        show_request(out, traced)
        show_deliveries(out, deliveries)
        show_hops(out, traced, attempt_hops(deliveries))
    return 0


async def trace_of(found: Surroundings, bucket: str, key: bytes) -> Trace | None:
    """The way of the key's current version; None if there is no such key."""
    async with open_metadata(found) as metadata:
        return await find_trace(metadata.reader, bucket=bucket, key=key)


def run_command(
    data_dir: Path, ask: Callable[[Surroundings], Awaitable[int]], *, interrupted: int = 0
) -> None:
    """Ask the system, and end the command. `interrupted`: the exit code when a person stops it."""

    async def work() -> int:
        return await ask(find_surroundings(data_dir))

    end_with(work, interrupted="", interrupted_code=interrupted)
