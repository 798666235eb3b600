"""The `fileflux` command: run the system, look into it, administer it.

Every command teaches with `--help`, speaks JSON with `--json`, and ends with 0 when it did what was
asked, 1 when it could not, 2 when the question was wrong.
"""

import sys

import typer

from fileflux.console import commands_events, commands_run
from fileflux.console.command_help import EXIT_CODES
from fileflux.console.commands_admin import app as admin_app
from fileflux.console.commands_archive import app as archive_app
from fileflux.console.commands_audit import app as audit_app
from fileflux.console.commands_audit import trace
from fileflux.console.commands_destination import app as destination_app
from fileflux.console.commands_history import diff, digest
from fileflux.console.commands_hold import app as hold_app
from fileflux.console.commands_rebuild import rebuild
from fileflux.console.commands_restore import restore
from fileflux.console.commands_route import app as route_app
from fileflux.console.commands_salvage import salvage
from fileflux.console.commands_snapshot import app as snapshot_app
from fileflux.console.commands_webhook import app as webhook_app

app = typer.Typer(
    name="fileflux",
    help="An S3-compatible object store whose every write is an event on a pipeline.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("dev", epilog=EXIT_CODES)(commands_run.dev)
app.command("demo", epilog=EXIT_CODES)(commands_run.demo)
app.command("run", epilog=EXIT_CODES)(commands_run.run)
app.command("doctor", epilog=EXIT_CODES)(commands_run.doctor)
app.command("version", epilog=EXIT_CODES)(commands_run.version)
app.add_typer(admin_app, name="admin")
audit_app.command("tail", epilog=EXIT_CODES)(commands_events.tail)
audit_app.command("search", epilog=EXIT_CODES)(commands_events.search)
audit_app.command("export", epilog=EXIT_CODES)(commands_events.export)
app.add_typer(audit_app, name="audit")
app.add_typer(archive_app, name="archive")
webhook_app.add_typer(destination_app, name="destination")
app.add_typer(webhook_app, name="webhook")
app.add_typer(route_app, name="route")
app.command("trace", epilog=EXIT_CODES)(trace)
app.command("rebuild", epilog=EXIT_CODES)(rebuild)
app.command("salvage", epilog=EXIT_CODES)(salvage)
app.command("digest", epilog=EXIT_CODES)(digest)
app.command("diff", epilog=EXIT_CODES)(diff)
app.command("restore", epilog=EXIT_CODES)(restore)
app.add_typer(hold_app, name="hold")
app.add_typer(snapshot_app, name="snapshot")


def main() -> None:
    """Entry point of the `fileflux` script."""
    app(prog_name="fileflux")


if __name__ == "__main__":
    sys.exit(app())
