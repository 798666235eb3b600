"""`fileflux admin`: users, access keys, buckets and nodes, as an operator sees them."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fileflux.console.admin import Admin, AdminRefused
from fileflux.console.wiring import NoSurroundings, find_surroundings, open_metadata
from fileflux.core.errors import FileFluxError

app = typer.Typer(help="Users, access keys, buckets and nodes.", no_args_is_help=True)
user_app = typer.Typer(help="Users.", no_args_is_help=True)
key_app = typer.Typer(help="Access keys of users.", no_args_is_help=True)
bucket_app = typer.Typer(help="Buckets.", no_args_is_help=True)
node_app = typer.Typer(help="Storage nodes.", no_args_is_help=True)
app.add_typer(user_app, name="user")
app.add_typer(key_app, name="key")
app.add_typer(bucket_app, name="bucket")
app.add_typer(node_app, name="node")

DataDir = Annotated[Path, typer.Option("--data-dir", help="Data directory of the `dev` that runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
DEFAULT_DATA_DIR = Path("fileflux-data")


@user_app.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="1 to 64 letters, digits or . - _ @")],
    password: Annotated[
        str, typer.Option(help="For HTTP Basic; a random one is made and printed without it.")
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a user with a first access key; the secret is shown once.

    Example: fileflux admin user create alice --json
    """
    chosen = password or secrets.token_urlsafe(18)
    _run(data_dir, as_json, lambda admin: admin.create_user(name, chosen))


@user_app.command("delete")
def delete_user(name: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Remove a user without buckets; the keys go with it."""
    _run(data_dir, as_json, lambda admin: admin.delete_user(name))


@key_app.command("create")
def create_key(user: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Give a user one more access key; the secret is shown once."""
    _run(data_dir, as_json, lambda admin: admin.create_key(user))


@key_app.command("list")
def list_keys(user: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show a user's access keys, never their secrets."""
    _run(data_dir, as_json, lambda admin: admin.list_keys(user))


@key_app.command("disable")
def disable_key(
    access_key: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Switch a key off; requests are refused within 2 seconds."""
    _run(data_dir, as_json, lambda admin: admin.set_key_active(access_key, active=False))


@key_app.command("enable")
def enable_key(
    access_key: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Switch a key on again."""
    _run(data_dir, as_json, lambda admin: admin.set_key_active(access_key, active=True))


@key_app.command("delete")
def delete_key(
    access_key: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Remove a key for good."""
    _run(data_dir, as_json, lambda admin: admin.delete_key(access_key))


@bucket_app.command("show")
def show_bucket(name: str, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show a bucket's owner, storage class and usage."""
    _run(data_dir, as_json, lambda admin: admin.show_bucket(name))


@bucket_app.command("class")
def set_bucket_class(
    name: str,
    storage_class: Annotated[str, typer.Argument(help="As FILEFLUX_CLASSES names it.")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Choose how new objects of a bucket are stored."""
    _run(data_dir, as_json, lambda admin: admin.set_bucket_class(name, storage_class))


@node_app.command("set")
def set_node(
    node_id: str,
    intent: Annotated[str, typer.Argument(help="active, drain or remove")],
    weight: Annotated[float, typer.Option(min=0.0, max=100.0)] = 1.0,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Say what a node is for; placement follows within seconds."""
    if intent not in ("active", "drain", "remove"):
        typer.echo("intent is one of: active, drain, remove", err=True)
        raise typer.Exit(2)
    _run(data_dir, as_json, lambda admin: admin.set_node(node_id, intent, weight))


def _run(data_dir: Path, as_json: bool, ask: Callable[[Admin], Awaitable[dict[str, Any]]]) -> None:
    async def work() -> dict[str, Any]:
        found = find_surroundings(data_dir)
        async with open_metadata(found) as metadata:
            return await ask(Admin(metadata, bytes.fromhex(found.master_key)))

    try:
        answer = asyncio.run(work())
    except (AdminRefused, NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(answer))
        return
    for name, value in answer.items():
        typer.echo(f"{name.replace('_', ' '):<14} {value}")
