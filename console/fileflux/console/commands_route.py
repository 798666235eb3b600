"""`fileflux route`: whose events go to which topic or queue, and how far they are."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from fileflux.console.admin import AdminRefused
from fileflux.console.answers import Answer, print_answer
from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.route_admin import Routes, Wanted
from fileflux.console.wiring import NoSurroundings, find_surroundings, open_routes
from fileflux.core.errors import FileFluxError
from fileflux.webhooks.positions import BEGINNING, NOW

app = typer.Typer(
    help="Routes: a bucket's or a user's events, sent on to a topic or a queue.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="The route's name.")]


@app.command("create", epilog=EXIT_CODES)
def create(
    name: Name,
    destination: Annotated[
        str, typer.Argument(help="kafka:TOPIC, the URL of an SQS queue, or an SNS topic's ARN.")
    ],
    bucket: Annotated[str, typer.Option(help="The events of this bucket.")] = "",
    user: Annotated[str, typer.Option(help="The events of all buckets of this user.")] = "",
    event: Annotated[
        list[str] | None,
        typer.Option(help="S3's name of an event, or s3:ObjectCreated:*; may be repeated."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin so.")] = "",
    suffix: Annotated[str, typer.Option(help="Only keys that end so.")] = "",
    form: Annotated[
        str,
        typer.Option(
            "--format", help="cloudevents (Kafka), cloudevents-structured or s3 (SQS and SNS)."
        ),
    ] = "",
    start: Annotated[
        str, typer.Option("--from", help="now, beginning, a position or a time.")
    ] = NOW,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Send on what happens to objects, at least once and in order per key.

    Example: fileflux route create photos kafka:alice.photos --bucket photos --prefix in/

    Example: fileflux route create alice kafka:alice.events --user alice --from beginning
    """
    names = event or ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    wanted = Wanted(bucket=bucket, user=user, prefix=prefix, suffix=suffix, event_names=names)
    _run(
        data_dir,
        as_json,
        lambda routes: routes.create(name, destination, wanted, form=form, start=start),
    )


@app.command("list", epilog=EXIT_CODES)
def list_routes(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show all routes, and what is wrong with them.

    Example: fileflux route list --json
    """
    _run(data_dir, as_json, lambda routes: routes.every())


@app.command("show", epilog=EXIT_CODES)
def show(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show a route's filter, how far it is, and why it does not get on.

    Example: fileflux route show photos
    """
    _run(data_dir, as_json, lambda routes: routes.show(name))


@app.command("pause", epilog=EXIT_CODES)
def pause(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Send nothing until it is resumed; what happens meanwhile is sent then.

    Example: fileflux route pause photos
    """
    _run(data_dir, as_json, lambda routes: routes.set_state(name, "paused"))


@app.command("resume", epilog=EXIT_CODES)
def resume(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Go on after a pause, or at once instead of after the back-off.

    Example: fileflux route resume photos
    """
    _run(data_dir, as_json, lambda routes: routes.set_state(name, "active"))


@app.command("replay", epilog=EXIT_CODES)
def replay(
    name: Name,
    start: Annotated[
        str,
        typer.Option(
            "--from", help="`beginning`, a position of the audit stream, or a time (2026-11-30)."
        ),
    ] = BEGINNING,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count and show what would be sent; send nothing.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Send past events again, with their own ids and marked as a replay; new ones come after them.

    Example: fileflux route replay photos --from 2026-11-30T12:00 --dry-run
    """
    if dry_run:
        _run(data_dir, as_json, lambda routes: routes.would_send(name, start))
    else:
        _run(data_dir, as_json, lambda routes: routes.replay(name, start))


@app.command("delete", epilog=EXIT_CODES)
def delete(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Remove a route; its topic or queue stays.

    Example: fileflux route delete photos
    """
    _run(data_dir, as_json, lambda routes: routes.remove(name))


def _run(data_dir: Path, as_json: bool, ask: Callable[[Routes], Awaitable[Answer]]) -> None:
    async def work() -> Answer:
        async with open_routes(find_surroundings(data_dir)) as (store, reader):
            return await ask(Routes(store, reader))

    try:
        answer = asyncio.run(work())
    except (AdminRefused, NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    print_answer(answer, as_json=as_json, list_name="routes")
