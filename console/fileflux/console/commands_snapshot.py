"""`fileflux snapshot`: the state of the database in the archive, so that a rebuild is short."""

import json
import random
from typing import Any

import typer
from rich.console import Console

from fileflux.console.bars import PlainProgress
from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.ending import end_with
from fileflux.console.times import time_text
from fileflux.console.wiring import archive_of, database_surroundings, open_metadata
from fileflux.core.clock import SystemClock
from fileflux.metadata.postgres_snapshot import open_snapshot
from fileflux.metadata.snapshot_format import Manifest
from fileflux.metadata.snapshot_load import Listed, list_snapshots
from fileflux.metadata.snapshot_write import SnapshotWriter

app = typer.Typer(
    help="The database's state in the archive, for short rebuilds.", no_args_is_help=True
)


@app.command("create", epilog=EXIT_CODES)
def create(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Write all rows of this moment into the archive that FILEFLUX_ARCHIVE_URL names.

    FileFlux goes on meanwhile. `fileflux rebuild --snapshot newest` begins there, and replays only
    what came later. A snapshot is of use once the archive has the records up to its position.

    Example: fileflux snapshot create --json
    """

    async def work() -> int:
        found = database_surroundings(data_dir)
        progress = PlainProgress(Console(stderr=True, highlight=False), "rows")
        async with open_metadata(found) as metadata:
            writer = SnapshotWriter(
                metadata.reader,
                archive_of(metadata),
                clock=SystemClock(),
                rng=random.SystemRandom(),
                report=progress.show,
            )
            manifest = await writer.take(lambda: open_snapshot(found.database_url))
            reached = (await metadata.reader.archive_head(manifest.stream)).next_position - 1
        told = {**_facts_of(manifest), "archived_to": reached}
        typer.echo(json.dumps(told) if as_json else _created(manifest, reached))
        return 0

    end_with(work, interrupted="stopped; its parts stay in the archive, and nobody reads them")


@app.command("list", epilog=EXIT_CODES)
def list_all(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show the archive's snapshots: from which position a rebuild can begin, and which cannot.

    Example: fileflux snapshot list --json
    """

    async def work() -> int:
        async with open_metadata(database_surroundings(data_dir)) as metadata:
            found = await list_snapshots(archive_of(metadata))
        if as_json:
            typer.echo(json.dumps({"snapshots": [_listed(one) for one in found]}))
        else:
            typer.echo("\n".join(map(_line_of, found)) or "no snapshot")
        return 0

    end_with(work)


def _facts_of(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "position": manifest.position,
        "whole_at": manifest.whole_at,
        "made": time_text(manifest.made_us),
        "rows": sum(table.rows for table in manifest.tables.values()),
        "bytes": manifest.size,
    }


def _listed(one: Listed) -> dict[str, Any]:
    facts = {"name": one.name} if one.manifest is None else _facts_of(one.manifest)
    return {**facts, "problem": one.problem or None}


def _line_of(one: Listed) -> str:
    if one.manifest is None:
        return f"{one.name}: NOT USABLE: {one.problem}"
    facts = _facts_of(one.manifest)
    problem = f"; not usable: {one.problem}" if one.problem else ""
    return (
        f"{facts['position']:>12} made {facts['made']} {facts['rows']} rows "
        f"{facts['bytes']} bytes{problem}"
    )


def _created(manifest: Manifest, reached: int) -> str:
    lines = [f"{_line_of(Listed(manifest.name, manifest, ''))}: {manifest.name}"]
    if reached < manifest.position:
        lines.append(
            f"it is of use once the archive has position {manifest.position}, and it has {reached} "
            "now: wait, or `fileflux archive run --once`"
        )
    return "\n".join(lines)
