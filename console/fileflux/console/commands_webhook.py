"""`fileflux webhook`: who is told what, whether they take it, and what became of the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from fileflux.console.answers import Answer, print_answer
from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.wiring import NoSurroundings, find_surroundings, open_webhooks
from fileflux.core.errors import FileFluxError
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.postgres_webhooks import PostgresWebhooks
from fileflux.webhooks.admin import Webhooks

app = typer.Typer(help="Webhooks: signed deliveries of a bucket's events.", no_args_is_help=True)

Ask = Callable[[PostgresWebhooks, MetadataReader, bytes], Awaitable[Answer]]
Name = Annotated[
    str, typer.Argument(help="The webhook's id, or the first digits of it (at least 4).")
]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)]
START_HELP: Final = "`beginning`, a position of the audit stream, or a time (2026-11-30T12:00)."


@app.command("create", epilog=EXIT_CODES)
def create(
    bucket: Annotated[str, typer.Argument(help="The bucket's name.")],
    url: Annotated[str, typer.Argument(help="Where deliveries go: https://…")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="S3's name of an event, or s3:ObjectCreated:*; may be repeated."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin so.")] = "",
    suffix: Annotated[str, typer.Option(help="Only keys that end so.")] = "",
    form: Annotated[
        str, typer.Option("--format", help="s3, cloudevents or cloudevents-structured.")
    ] = "s3",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Tell a receiver what happens in a bucket from now on; the secret is shown once.

    Example: fileflux webhook create photos https://example.com/hook --suffix .jpg

    Example: fileflux webhook create photos https://example.com/hook --event s3:ObjectRemoved:*
    """
    names = event or ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    _run(
        data_dir,
        as_json,
        lambda hooks: hooks.create(
            bucket, url, form=form, event_names=names, prefix=prefix, suffix=suffix
        ),
    )


@app.command("list", epilog=EXIT_CODES)
def list_webhooks(
    bucket: Annotated[str, typer.Option(help="Only those of this bucket.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show all webhooks, never their secrets.

    Example: fileflux webhook list --bucket photos --json
    """
    _run(data_dir, as_json, lambda hooks: hooks.every(bucket))


@app.command("show", epilog=EXIT_CODES)
def show(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show a webhook's filter, state, how far it is behind, and what it could not deliver.

    Example: fileflux webhook show 3f2a --json
    """
    _run(data_dir, as_json, lambda hooks: hooks.show(name))


@app.command("pause", epilog=EXIT_CODES)
def pause(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Send nothing until it is resumed; what happens meanwhile is sent then.

    Example: fileflux webhook pause 3f2a
    """
    _run(data_dir, as_json, lambda hooks: hooks.set_state(name, "paused"))


@app.command("resume", epilog=EXIT_CODES)
def resume(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Go on after a pause, after a 410, or at once instead of after the back-off.

    Example: fileflux webhook resume 3f2a
    """
    _run(data_dir, as_json, lambda hooks: hooks.set_state(name, "active"))


@app.command("test", epilog=EXIT_CODES)
def send_test(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Send a signed test message, and show what the receiver answered.

    Example: fileflux webhook test 3f2a
    """
    _run(data_dir, as_json, lambda hooks: hooks.test(name))


@app.command("replay", epilog=EXIT_CODES)
def replay(
    name: Name,
    start: Annotated[str, typer.Option("--from", help=START_HELP)] = "beginning",
    rate: Annotated[int, typer.Option(help="Deliveries a second.", min=1, max=1_000)] = 50,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count and show what would be sent; send nothing.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Send past events again, with their own ids and marked as a replay.

    Example: fileflux webhook replay 3f2a --from 2026-11-30T12:00 --dry-run

    Example: fileflux webhook replay 3f2a --from 5000 --rate 20
    """
    if dry_run:
        _run(data_dir, as_json, lambda hooks: hooks.would_send(name, start))
    else:
        _run(data_dir, as_json, lambda hooks: hooks.replay(name, start, rate=rate))


@app.command("rotate-secret", epilog=EXIT_CODES)
def rotate_secret(
    name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Sign with a new secret, shown once, and for a day with the old one too.

    Example: fileflux webhook rotate-secret 3f2a
    """
    _run(data_dir, as_json, lambda hooks: hooks.rotate_secret(name))


@app.command("attempts", epilog=EXIT_CODES)
def attempts(
    name: Name,
    limit: Limit = 20,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show the last attempts: when, which event, the status, how long it took.

    Example: fileflux webhook attempts 3f2a --limit 100 --json
    """
    _run(data_dir, as_json, lambda hooks: hooks.attempts(name, limit))


@app.command("dead", epilog=EXIT_CODES)
def dead(
    name: Name,
    limit: Limit = 20,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show deliveries that were given up after three days, with the last problem.

    Example: fileflux webhook dead 3f2a --json
    """
    _run(data_dir, as_json, lambda hooks: hooks.dead(name, limit))


@app.command("redrive", epilog=EXIT_CODES)
def redrive(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Send again what was given up.

    Example: fileflux webhook redrive 3f2a
    """
    _run(data_dir, as_json, lambda hooks: hooks.redrive(name))


@app.command("delete", epilog=EXIT_CODES)
def delete(name: Name, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Remove a webhook with its queue and its history.

    Example: fileflux webhook delete 3f2a
    """
    _run(data_dir, as_json, lambda hooks: hooks.set_state(name, "deleted"))


def _run(data_dir: Path, as_json: bool, ask: Callable[[Webhooks], Awaitable[Answer]]) -> None:
    run_command(data_dir, as_json, lambda *parts: ask(Webhooks(*parts)))


def run_command(data_dir: Path, as_json: bool, ask: Ask) -> None:
    """Ask with the store, a reader and the master key, and show the answer."""

    async def work() -> Answer:
        found = find_surroundings(data_dir)
        async with open_webhooks(found) as (store, reader):
            return await ask(store, reader, bytes.fromhex(found.master_key))

    try:
        answer = asyncio.run(work())
    except (NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    print_answer(answer, as_json=as_json, list_name="webhooks")
