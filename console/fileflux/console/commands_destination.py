"""`fileflux webhook destination`: receivers that notification configurations name by ARN."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from fileflux.console.answers import Answer
from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.commands_webhook import run_command
from fileflux.core.errors import NoSuchUser
from fileflux.core.ids import UserId
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.webhooks.destinations import Destinations

app = typer.Typer(help="Receivers that buckets' own notification configurations name by ARN.")

Name = Annotated[str, typer.Argument(help="The destination's name.")]
Owner = Annotated[
    str, typer.Option(help="Whose it is: the owner of the buckets that may send there.")
]


@app.command("create", epilog=EXIT_CODES)
def create(
    name: Name,
    url: Annotated[str, typer.Argument(help="Where deliveries go: https://…")],
    owner: Owner = "root",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a destination; its secret is shown once, its ARN goes into the configuration.

    Example: fileflux webhook destination create orders https://example.com/hook --owner alice
    """
    _run(data_dir, as_json, owner, lambda some, who: some.create(who, name, url))


@app.command("list", epilog=EXIT_CODES)
def list_destinations(
    owner: Owner = "root", as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Show a user's destinations, never their secrets.

    Example: fileflux webhook destination list --owner alice --json
    """
    _run(data_dir, as_json, owner, lambda some, who: some.every(who))


@app.command("show", epilog=EXIT_CODES)
def show(
    name: Name,
    owner: Owner = "root",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show a destination and the buckets that name it.

    Example: fileflux webhook destination show orders --owner alice
    """
    _run(data_dir, as_json, owner, lambda some, who: some.show(who, name))


@app.command("rotate-secret", epilog=EXIT_CODES)
def rotate_secret(
    name: Name,
    owner: Owner = "root",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Sign with a new secret, shown once, and for a day with the old one too.

    Example: fileflux webhook destination rotate-secret orders
    """
    _run(data_dir, as_json, owner, lambda some, who: some.rotate_secret(who, name))


@app.command("delete", epilog=EXIT_CODES)
def delete(
    name: Name,
    owner: Owner = "root",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Remove a destination that no bucket names any more.

    Example: fileflux webhook destination delete orders
    """
    _run(data_dir, as_json, owner, lambda some, who: some.remove(who, name))


def _run(
    data_dir: Path,
    as_json: bool,
    owner: str,
    ask: Callable[[Destinations, UserId], Awaitable[Answer]],
) -> None:
    async def work(store: PostgresWebhooks, reader: MetadataReader, key: bytes) -> Answer:
        user = await reader.find_user(owner)
        if user is None:
            raise NoSuchUser(f"there is no user {owner}")
        return await ask(Destinations(store, reader, key), user.user_id)

    run_command(data_dir, as_json, work)
