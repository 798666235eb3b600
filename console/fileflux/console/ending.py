"""How a command that asks the system ends: its exit code, and a sentence when it could not."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

import typer

from fileflux.console.wiring import NoSurroundings
from fileflux.core.errors import FileFluxError
from fileflux.core.telemetry import configure_logging


def end_with(
    work: Callable[[], Awaitable[int]],
    *,
    interrupted: str = "interrupted",
    interrupted_code: int = 1,
) -> None:
    """Run `work` and leave with its exit code, or with 1 and a sentence when it could not.

    `interrupted`: what to say after Ctrl-C; empty: nothing. `interrupted_code`: and how to leave.
    """

    async def run() -> int:
        configure_logging(level="WARNING", log_format="plain")  # To standard error.
        return await work()

    try:
        code = asyncio.run(run())
    except BrokenPipeError:
        # Whoever read our lines has enough of them (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (NoSurroundings, FileFluxError, OSError) as error:
        typer.echo(f"cannot: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        if interrupted:
            typer.echo(interrupted, err=True)
        raise typer.Exit(interrupted_code) from None
    raise typer.Exit(code)
