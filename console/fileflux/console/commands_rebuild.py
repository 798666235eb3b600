"""`fileflux rebuild`: a lost database, or a past one, made again from the audit stream."""

import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from fileflux.console.bars import PlainProgress
from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.ending import end_with
from fileflux.console.rebuild_progress import RebuildProgress
from fileflux.console.wiring import (
    Metadata,
    NoSurroundings,
    Surroundings,
    archive_settings,
    known_surroundings,
    open_broker,
    open_metadata,
)
from fileflux.core.clock import SystemClock
from fileflux.core.errors import Invalid
from fileflux.core.ids import NodeId
from fileflux.core.node_client import NodeClient
from fileflux.events.topics import AUDIT
from fileflux.metadata.archive_open import open_archive
from fileflux.metadata.migrate import is_used, migrate
from fileflux.metadata.rebuild import (
    EVERYTHING,
    Rebuild,
    Rebuilt,
    Until,
    parse_until,
    rare_collections,
)
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.record_sources import (
    DatabaseRecords,
    FileRecords,
    RecordSource,
    TopicRecords,
)
from fileflux.metadata.refill import Refilled, refill
from fileflux.metadata.snapshot_load import SnapshotLoader, choose
from fileflux.placement.map_view import MapView

MAP_TIMEOUT_S: Final = 15.0
NEWEST: Final = "newest"
ON_AGAIN: Final = "stopped; the same command goes on where it was"


def until_option(text: str) -> Until:
    """Return what an option says; a wrong one is a wrong argument."""
    try:
        return parse_until(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def node_option(text: str) -> tuple[NodeId, str]:
    """Return (node id, URL) of ID=URL."""
    node_id, equals, url = text.partition("=")
    if not (node_id and equals and url.startswith(("http://", "https://"))):
        raise typer.BadParameter(f"{text!r} is not ID=URL, such as 7f3c…=http://10.0.0.7:9100")
    return NodeId(node_id), url


@dataclass(frozen=True, slots=True)
class Begin:
    """With a snapshot or with the first record. `position`: of the snapshot, None the newest."""

    snapshot: bool = False
    position: int | None = None


def snapshot_option(text: str) -> Begin:
    """Return what `--snapshot` says; a wrong one is a wrong argument."""
    if text in ("", NEWEST):
        return Begin(snapshot=bool(text))
    if not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"{text!r} is neither `{NEWEST}` nor a position")
    return Begin(snapshot=True, position=int(text))


NodeOption = Annotated[
    list[str] | None,
    typer.Option("--node", help="ID=URL of a storage node; otherwise those of the map."),
]
OnlyNodesOption = Annotated[
    bool,
    typer.Option("--only-nodes", help="Replay nothing: ask nodes again, of a database in use."),
]
SnapshotOption = Annotated[
    str,
    typer.Option(
        "--snapshot", help="Begin with a snapshot of the archive: `newest`, or its position."
    ),
]


def rebuild(
    into: Annotated[
        str, typer.Option("--into", help="postgresql:// address of an empty database.")
    ],
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="Read an export (JSON lines).")
    ] = None,
    from_database: Annotated[
        str, typer.Option("--from-database", help="Read what another database has numbered.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", help="Stop behind a position, or before what is later.")
    ] = "",
    snapshot: SnapshotOption = "",
    node: NodeOption = None,
    no_nodes: Annotated[
        bool, typer.Option("--no-nodes", help="Ask no node for its inventory.")
    ] = False,
    only_nodes: OnlyNodesOption = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Rebuild a database from the audit stream: the topic, an export, or another database.

    Verifies the hash chain on the way and stops where it is broken. Ends with every audited row as
    it was, and a FileFlux that is started on it continues the same stream. Then asks the storage
    nodes what they hold. It ends 70 s after the last change at the earliest, when no upload of then
    can apply again. Stopped or killed, the same command goes on where it was; until it has ended no
    service starts on the database.

    --snapshot begins with rows that `fileflux snapshot create` left in the archive, and replays
    what came later: the end is the same. Loading them cannot go on after it was stopped; what
    follows can.

    --until makes a database of the past, to look at: no sequencer continues it on the same topic.

    Example: fileflux rebuild --into postgresql://fileflux@db/rebuilt

    Example: fileflux rebuild --into postgresql://db/past --until 2026-03-01T12:00:00Z --no-nodes

    Example: fileflux rebuild --into postgresql://db/new --from-file audit.jsonl --json

    Example: fileflux rebuild --into postgresql://db/new --snapshot newest
    """
    _check_sources(from_file, from_database)
    if only_nodes and (no_nodes or from_file or from_database or until or snapshot):
        raise typer.BadParameter("--only-nodes goes with --into and --node alone")
    wanted = until_option(until) if until else EVERYTHING
    begins = snapshot_option(snapshot)
    given = dict(node_option(one) for one in node or ())
    found = known_surroundings(data_dir)

    async def work() -> int:
        if only_nodes:
            return await _refill(found, into, given, as_json=as_json)
        return await _rebuild(
            found,
            into,
            from_file=from_file,
            from_database=from_database,
            until=wanted,
            begins=begins,
            nodes=given,
            asks_nodes=not no_nodes,
            as_json=as_json,
        )

    end_with(work, interrupted=ON_AGAIN)


def _check_sources(from_file: Path | None, from_database: str) -> None:
    if from_file and from_database:
        raise typer.BadParameter("--from-file and --from-database exclude each other")
    if from_file and not from_file.is_file():
        raise typer.BadParameter(f"there is no file {from_file}")


async def _rebuild(
    found: Surroundings,
    into: str,
    *,
    from_file: Path | None,
    from_database: str,
    until: Until,
    begins: Begin,
    nodes: dict[NodeId, str],
    asks_nodes: bool,
    as_json: bool,
) -> int:
    began_s = time.monotonic()
    if asks_nodes:
        _check_secret(found)
    if not await is_used(into):  # What is in use is refused, and stays as it is.
        await migrate(into, rng=random.SystemRandom())
    async with open_metadata(_at(into)) as made:
        target = RebuildTarget(made.database, made.reader)
        if begins.snapshot and not (await target.begin()).turn:
            await _load(found, made, begins, until)
        with RebuildProgress(Console(stderr=True, highlight=False)) as bar:
            async with _source(found, from_file, from_database) as source:
                run = Rebuild(source, target, clock=SystemClock(), until=until, report=bar.show)
                with rare_collections():
                    done = await run.run()
        said = await _ask_nodes(found, nodes, target) if asks_nodes else []
        await target.outlive_seals(SystemClock())
        await target.finish()
    tell = _as_json if as_json else _as_text
    typer.echo(tell(done, said, time.monotonic() - began_s))
    return int(any(one.problem for one in said))


async def _load(found: Surroundings, made: Metadata, begins: Begin, until: Until) -> None:
    """Put the snapshot that was asked for into the empty database."""
    progress = PlainProgress(Console(stderr=True, highlight=False), "parts of the snapshot")
    async with open_archive(archive_settings(found)) as archive:
        if archive is None:
            raise Invalid("there is no archive: set FILEFLUX_ARCHIVE_URL")
        manifest = await choose(archive, begins.position, until)
        loader = SnapshotLoader(archive, made.database, made.reader, report=progress.show)
        await loader.load(manifest)
    typer.echo(f"began with the snapshot at position {manifest.position}", err=True)


async def _refill(
    found: Surroundings, into: str, nodes: dict[NodeId, str], *, as_json: bool
) -> int:
    _check_secret(found)
    async with open_metadata(_at(into)) as made:
        said = await _ask_nodes(found, nodes, RebuildTarget(made.database, made.reader))
    if as_json:
        typer.echo(json.dumps({"nodes": _nodes_as_json(said)}))
    else:
        typer.echo("\n".join(_nodes_as_text(said)))
    return int(any(one.problem for one in said))


def _check_secret(found: Surroundings) -> None:
    if not found.cluster_secret:
        raise NoSurroundings(
            "the nodes' secret is unknown: set FILEFLUX_CLUSTER_SECRET, or give --no-nodes (the "
            "replicas are then those that the records name)"
        )


def _at(dsn: str) -> Surroundings:
    return Surroundings(database_url=dsn, kafka_bootstrap_servers="", master_key="")


@asynccontextmanager
async def _source(
    found: Surroundings, from_file: Path | None, from_database: str
) -> AsyncIterator[RecordSource]:
    if from_file is not None:
        yield FileRecords(from_file)
    elif from_database:
        async with open_metadata(_at(from_database)) as original:
            yield DatabaseRecords(original.reader)
    else:
        _check_bootstrap(found)
        async with open_broker(found) as broker:
            yield TopicRecords(await broker.source([(AUDIT, 0)]))


def _check_bootstrap(found: Surroundings) -> None:
    if not found.kafka_bootstrap_servers:
        raise NoSurroundings(
            "the topic's broker is unknown: set KAFKA_BOOTSTRAP_SERVERS, give the --data-dir of a "
            "`fileflux dev` that runs, or read with --from-file or --from-database"
        )


async def _ask_nodes(
    found: Surroundings, nodes: dict[NodeId, str], target: RebuildTarget
) -> list[Refilled]:
    clock = SystemClock()
    client = NodeClient(found.cluster_secret.encode(), clock)
    try:
        return await refill(client, nodes or await _mapped_nodes(found), target)
    finally:
        await client.close()


async def _mapped_nodes(found: Surroundings) -> dict[NodeId, str]:
    """Return the nodes of the last placement map, by their URLs."""
    _check_bootstrap(found)
    async with open_broker(found) as broker:
        view = MapView(broker, clock=SystemClock())
        await view.start()
        try:
            await view.catch_up(timeout_s=MAP_TIMEOUT_S)
            return {node.node_id: node.url for node in view.current.nodes}
        finally:
            await view.close()


def _as_text(done: Rebuilt, said: list[Refilled], took_s: float) -> str:
    lines = [f"rebuilt up to position {done.position}: {done.records} records in {took_s:.1f} s"]
    lines.append(f"chain hash {done.chain_hash.hex()}")
    if said:
        lines += _nodes_as_text(said)
    else:
        lines.append("no node was asked: the replicas are those that the records name")
    return "\n".join(lines)


def _nodes_as_text(said: list[Refilled]) -> list[str]:
    lines = []
    for one in said:
        problem = f"; NOT COMPLETE: {one.problem}" if one.problem else ""
        lines.append(f"node {one.node_id}: {one.replicas} bundles{problem}")
    if any(one.problem for one in said):
        lines.append("ask again when they are back: fileflux rebuild --only-nodes --into …")
    return lines


def _as_json(done: Rebuilt, said: list[Refilled], took_s: float) -> str:
    return json.dumps(
        {
            "position": done.position,
            "records": done.records,
            "chain_hash": done.chain_hash.hex(),
            "seconds": round(took_s, 3),
            "nodes": _nodes_as_json(said),
        }
    )


def _nodes_as_json(said: list[Refilled]) -> list[dict[str, Any]]:
    return [{"node": o.node_id, "bundles": o.replicas, "problem": o.problem} for o in said]
