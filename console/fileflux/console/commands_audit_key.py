"""`fileflux audit key`: the key that signs checkpoints, and the public ones that verify them."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.wiring import NoSurroundings, find_surroundings, open_metadata
from fileflux.core.errors import FileFluxError
from fileflux.metadata.audit_keys import AuditKeyInvalid, load_audit_key, new_audit_key

app = typer.Typer(help="The key that signs checkpoints.", no_args_is_help=True)


@app.command("new", epilog=EXIT_CODES)
def new(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make a key in a private file and print its public half.

    Set FILEFLUX_AUDIT_KEY_FILE to the file for the sequencer and start it again. A new key goes on
    with the row of checkpoints; keep the public half of the old one, which signed those before.

    Example: fileflux audit key new audit-key.pem
    """
    try:
        public = new_audit_key(file).public_key().public_bytes_raw().hex()
    except AuditKeyInvalid as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps({"key": public, "file": str(file)}) if as_json else public)


@app.command("public", epilog=EXIT_CODES)
def public(
    file: Annotated[
        Path | None, typer.Argument(help="A private key's file. Without it: all that ever signed.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print the public half of a key, or every key that signed a checkpoint, the oldest first.

    One line for each: the key, and since when it signs. `verify_audit.py --keys` reads them.

    Example: fileflux audit key public audit-key.pem

    Example: fileflux audit key public --json
    """
    try:
        keys = [_of_file(file)] if file is not None else asyncio.run(_listed(data_dir))
    except (NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({"keys": keys}))
    for one in [] if as_json else keys:
        typer.echo(one["key"] + (f"  # since {one['since']}" if "since" in one else ""))


def _of_file(file: Path) -> dict[str, Any]:
    return {"key": load_audit_key(file).public_key().public_bytes_raw().hex()}


async def _listed(data_dir: Path) -> list[dict[str, Any]]:
    async with open_metadata(find_surroundings(data_dir)) as metadata:
        found = await metadata.reader.audit_keys()
    return [
        {
            "key": key.hex(),
            "since": datetime.fromtimestamp(first_us / 1_000_000, UTC).isoformat(
                timespec="seconds"
            ),
        }
        for key, first_us in found
    ]
