"""`fileflux admin`: users, access keys, buckets and nodes, as an operator sees them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fileflux.console.admin import Admin, AdminRefused
from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.password_input import PasswordProblem, read_password
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

UserName = Annotated[str, typer.Argument(help="The user's name.")]
AccessKey = Annotated[str, typer.Argument(help="The access key (FF…), never its secret.")]
BucketName = Annotated[str, typer.Argument(help="The bucket's name.")]


@user_app.command("create", epilog=EXIT_CODES)
def create_user(
    name: Annotated[str, typer.Argument(help="1 to 64 letters, digits or . - _ @")],
    password_file: Annotated[
        str,
        typer.Option(help="Its first line is the password for HTTP Basic; - is standard input."),
    ] = "",
    ask_password: Annotated[
        bool, typer.Option("--ask-password", help="Ask for it on the terminal, twice.")
    ] = False,
    password: Annotated[
        str,
        typer.Option(help="Seen by every user of this machine: use one of the others."),
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a user with a first access key; the secret is shown once.

    The password for HTTP Basic (8 to 1,024 characters) comes from --password-file, --ask-password
    or FILEFLUX_NEW_PASSWORD in the environment; without them a random one is made and shown.

    Example: fileflux admin user create alice --json

    Example: fileflux admin user create alice --password-file /run/secrets/alice
    """
    if password:
        typer.echo(
            "warning: other users of this machine can read a password that is an argument; "
            "use --password-file or --ask-password, and choose another password",
            err=True,
        )
    try:
        chosen = read_password(given=password, file=password_file, ask=ask_password)
    except PasswordProblem as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
    _run(data_dir, as_json, lambda admin: admin.create_user(name, chosen))


@user_app.command("delete", epilog=EXIT_CODES)
def delete_user(
    name: UserName, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Remove a user without buckets; the keys go with it.

    Example: fileflux admin user delete alice
    """
    _run(data_dir, as_json, lambda admin: admin.delete_user(name))


@key_app.command("create", epilog=EXIT_CODES)
def create_key(
    user: UserName, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Give a user one more access key; the secret is shown once.

    Example: fileflux admin key create alice --json
    """
    _run(data_dir, as_json, lambda admin: admin.create_key(user))


@key_app.command("list", epilog=EXIT_CODES)
def list_keys(
    user: UserName, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Show a user's access keys, never their secrets.

    Example: fileflux admin key list alice --json
    """
    _run(data_dir, as_json, lambda admin: admin.list_keys(user))


@key_app.command("disable", epilog=EXIT_CODES)
def disable_key(
    access_key: AccessKey, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Switch a key off; requests are refused within 2 seconds.

    Example: fileflux admin key disable FF0123456789ABCDEF01
    """
    _run(data_dir, as_json, lambda admin: admin.set_key_active(access_key, active=False))


@key_app.command("enable", epilog=EXIT_CODES)
def enable_key(
    access_key: AccessKey, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Switch a key on again.

    Example: fileflux admin key enable FF0123456789ABCDEF01
    """
    _run(data_dir, as_json, lambda admin: admin.set_key_active(access_key, active=True))


@key_app.command("delete", epilog=EXIT_CODES)
def delete_key(
    access_key: AccessKey, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Remove a key for good.

    Example: fileflux admin key delete FF0123456789ABCDEF01
    """
    _run(data_dir, as_json, lambda admin: admin.delete_key(access_key))


@bucket_app.command("show", epilog=EXIT_CODES)
def show_bucket(
    name: BucketName, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Show a bucket's owner, storage class and usage.

    Example: fileflux admin bucket show photos --json
    """
    _run(data_dir, as_json, lambda admin: admin.show_bucket(name))


@bucket_app.command("class", epilog=EXIT_CODES)
def set_bucket_class(
    name: BucketName,
    storage_class: Annotated[str, typer.Argument(help="As FILEFLUX_CLASSES names it.")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Choose how new objects of a bucket are stored; those that it has stay as they are.

    Example: fileflux admin bucket class scratch SINGLE
    """
    _run(data_dir, as_json, lambda admin: admin.set_bucket_class(name, storage_class))


@bucket_app.command("access-log", epilog=EXIT_CODES)
def set_bucket_access_log(
    name: BucketName,
    state: Annotated[str, typer.Argument(help="on or off")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Record a bucket's reads and refused requests on the topic fileflux.access, or not.

    Each is answered after its record is safe; without Kafka they are answered 503.

    Example: fileflux admin bucket access-log photos on
    """
    if state not in ("on", "off"):
        raise typer.BadParameter("on or off")
    _run(data_dir, as_json, lambda admin: admin.set_bucket_access_log(name, is_on=state == "on"))


@node_app.command("list", epilog=EXIT_CODES)
def list_nodes(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show what was said of nodes with `node set`; all others are active with weight 1.

    Example: fileflux admin node list --json
    """
    _run(data_dir, as_json, lambda admin: admin.list_nodes())


@node_app.command("set", epilog=EXIT_CODES)
def set_node(
    node_id: Annotated[str, typer.Argument(help="The node's id, as its log and heartbeats say.")],
    intent: Annotated[str, typer.Argument(help="active, drain or remove")],
    weight: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Its share of new bundles; 1 is usual.")
    ] = 1.0,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Say what a node is for; placement follows within seconds.

    Example: fileflux admin node set node-7 drain
    """
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
