"""`fileflux salvage`: database and Kafka are lost; the nodes' own records tell what there was."""

import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.commands_rebuild import node_option, until_option
from fileflux.console.ending import end_with
from fileflux.console.salvage_nodes import ask_nodes, open_directories, read_directory
from fileflux.console.wiring import (
    NoSurroundings,
    Surroundings,
    archive_settings,
    known_surroundings,
    open_metadata,
)
from fileflux.core.classes import ClassSettings
from fileflux.core.clock import SystemClock
from fileflux.core.ids import NodeId
from fileflux.core.node_client import NodeClient
from fileflux.core.settings import load_settings
from fileflux.ingest.root_user import ROOT_ID, ROOT_NAME
from fileflux.metadata.archive_open import open_archive
from fileflux.metadata.archive_records import ArchiveRecords
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.migrate import is_used, migrate
from fileflux.metadata.rebuild import EVERYTHING, Until, rare_collections
from fileflux.metadata.rebuild_target import CLOCK_SLACK_US, RebuildTarget
from fileflux.metadata.record_sources import DatabaseRecords, FileRecords, RecordSource
from fileflux.metadata.salvage import Salvage, Salvaged, SalvageOptions, begin_empty
from fileflux.metadata.salvage_changes import Owner
from fileflux.metadata.salvage_evidence import Evidence
from fileflux.metadata.salvage_findings import KINDS, UNKNOWABLE, Findings
from fileflux.metadata.seals import SEAL_LIFE_US
from fileflux.storage_node.dead_dataset import DeadDataset

DETAILS: Final = Path("salvage-details.jsonl")
AGAIN: Final = "stopped; a database that was begun is of no use: give an empty one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked for. `into` empty: a dry run."""

    into: str
    nodes: Mapping[NodeId, str]
    directories: Sequence[Path]
    from_file: Path | None
    from_database: str
    from_archive: bool
    until: Until
    assembles: bool
    checks_data: bool
    details: Path
    as_json: bool


Into = Annotated[str, typer.Option("--into", help="postgresql:// address of an empty database.")]
Node = Annotated[
    list[str] | None, typer.Option("--node", help="ID=URL of a storage node that runs.")
]
NodeDir = Annotated[
    list[Path] | None,
    typer.Option("--node-dir", help="Data directory of a node that does not; only read."),
]
FromFile = Annotated[
    Path | None,
    typer.Option("--from-file", help="Replay an export (JSON lines) of the stream first."),
]
FromArchive = Annotated[
    bool, typer.Option("--from-archive", help="Replay the archive that FILEFLUX_ARCHIVE_URL names.")
]
FromDatabase = Annotated[
    str, typer.Option("--from-database", help="Replay what an older database has numbered.")
]
UntilText = Annotated[
    str, typer.Option("--until", help="Of the stream, only up to a position or time.")
]
NoAssemble = Annotated[
    bool, typer.Option("--no-assemble", help="Leave multipart uploads open that look complete.")
]
CheckData = Annotated[
    bool, typer.Option("--check-data", help="Read and verify every byte, not records alone.")
]
DetailsFile = Annotated[
    Path, typer.Option("--details", help="Where each finding goes (JSON lines).")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be salvaged; write no database.")
]


def salvage(
    into: Into = "",
    node: Node = None,
    node_dir: NodeDir = None,
    from_file: FromFile = None,
    from_archive: FromArchive = False,
    from_database: FromDatabase = "",
    until: UntilText = "",
    no_assemble: NoAssemble = False,
    check_data: CheckData = False,
    details: DetailsFile = DETAILS,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a database from what the storage nodes' own records tell, when all else is lost.

    Give every node: with --node those that run, with --node-dir the directories of the others.
    Replicas are merged and verified; of each key the latest whole upload comes back, owned by root.
    Behind an export or archive of the audit stream only what it does not name is taken from the
    nodes: so deletions, users and settings before its end are kept. It says what could not be
    known, and the audit stream of the new database begins with that.

    Stop ingests, materializers and sequencers first. Begin with --dry-run.

    Example: fileflux salvage --dry-run --node-dir /data/node-1 --node-dir /data/node-2

    Example: fileflux salvage --into postgresql://db/new --node 7f3c…=http://10.0.0.7:9100

    Example: fileflux salvage --into postgresql://db/new --from-archive --node-dir /data/node-1
    """
    _check_options(into, dry_run, node, node_dir, from_file, from_archive, from_database, until)
    question = Question(
        into="" if dry_run else into,
        nodes=_nodes(node or ()),
        directories=node_dir or (),
        from_file=from_file,
        from_database=from_database,
        from_archive=from_archive,
        until=until_option(until) if until else EVERYTHING,
        assembles=not no_assemble,
        checks_data=check_data,
        details=details,
        as_json=as_json,
    )
    found = known_surroundings(data_dir)
    end_with(lambda: _salvage(found, question), interrupted=AGAIN)


def _check_options(
    into: str,
    dry_run: bool,
    node: list[str] | None,
    node_dir: list[Path] | None,
    from_file: Path | None,
    from_archive: bool,
    from_database: str,
    until: str,
) -> None:
    if bool(into) == dry_run:
        raise typer.BadParameter("give --into or --dry-run, one of them")
    if not (node or node_dir):
        raise typer.BadParameter("name the nodes: --node ID=URL or --node-dir PATH, each of them")
    sources = sum(map(bool, (from_file, from_archive, from_database)))
    if sources > 1:
        raise typer.BadParameter("--from-file, --from-archive, --from-database: one at most")
    if until and not sources:
        raise typer.BadParameter("--until is of a stream: give --from-file or --from-archive")
    if from_file and not from_file.is_file():
        raise typer.BadParameter(f"there is no file {from_file}")


def _nodes(options: Sequence[str]) -> dict[NodeId, str]:
    nodes: dict[NodeId, str] = {}
    for node_id, url in map(node_option, options):
        if node_id in nodes:
            raise typer.BadParameter(f"--node {node_id} is given twice: each node has one address")
        nodes[node_id] = url
    return nodes


async def _salvage(found: Surroundings, question: Question) -> int:
    if question.nodes and not found.cluster_secret:
        raise NoSurroundings("the nodes' secret is unknown: set FILEFLUX_CLUSTER_SECRET")
    datasets = open_directories(question.directories)
    options = SalvageOptions(
        owner=Owner(ROOT_ID, ROOT_NAME),
        classes=load_settings(ClassSettings).storage_classes,
        assembles=question.assembles,
        until=question.until,
    )
    if question.into:
        await _prepare(question.into)
    async with _source(found, question) as source:
        with question.details.open("wb") as file:
            findings = Findings(file.write)
            evidence = Evidence(findings)
            await _gather(found, question, datasets, evidence, findings)
            with rare_collections():
                done = await _write(question, options, evidence, findings, source)
    told = _as_json(question, done) if question.as_json else _as_text(question, done)
    typer.echo(told)
    return int(bool(done.findings.get("node_silent")))


async def _prepare(into: str) -> None:
    """Make the tables. Before nodes are asked, which may take hours: is it the right database?"""
    if not await is_used(into):  # What is in use is refused, and stays as it is.
        await migrate(into, rng=random.SystemRandom())
    async with open_metadata(_at(into)) as made:
        await begin_empty(RebuildTarget(made.database, made.reader))


async def _gather(
    found: Surroundings,
    question: Question,
    datasets: Sequence[DeadDataset],
    evidence: Evidence,
    findings: Findings,
) -> None:
    checks = question.checks_data
    for dataset in datasets:
        await read_directory(dataset, evidence, findings, checks_data=checks, report=_say)
    clock = SystemClock()
    client = NodeClient(found.cluster_secret.encode(), clock)
    try:
        await ask_nodes(
            client,
            question.nodes,
            evidence,
            findings,
            checks_data=checks,
            clock=clock,
            report=_say,
        )
    finally:
        await client.close()


def _say(line: str) -> None:
    typer.echo(line, err=True)


async def _write(
    question: Question,
    options: SalvageOptions,
    evidence: Evidence,
    findings: Findings,
    source: RecordSource | None,
) -> Salvaged:
    clock = SystemClock()
    if not question.into:
        memory = MemoryDatabase()
        reader = MemoryReader(memory)
        target = RebuildTarget(memory, reader)
        run = Salvage(memory, reader, target, findings=findings, clock=clock, options=options)
        return await run.run(evidence, source)
    async with open_metadata(_at(question.into)) as made:
        target = RebuildTarget(made.database, made.reader)
        run = Salvage(
            made.database, made.reader, target, findings=findings, clock=clock, options=options
        )
        done = await run.run(evidence, source)
        ends_us = await target.last_stamp() + SEAL_LIFE_US + CLOCK_SLACK_US
        _say(f"written; it ends at {_time_text(ends_us)}, when no upload of then can apply again")
        await target.outlive_seals(clock)
        await target.finish()
        return done


def _time_text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat()


def _at(dsn: str) -> Surroundings:
    return Surroundings(database_url=dsn, kafka_bootstrap_servers="", master_key="")


@asynccontextmanager
async def _source(found: Surroundings, question: Question) -> AsyncIterator[RecordSource | None]:
    if question.from_file is not None:
        yield FileRecords(question.from_file)
    elif question.from_database:
        async with open_metadata(_at(question.from_database)) as original:
            yield DatabaseRecords(original.reader)
    elif question.from_archive:
        async with open_archive(archive_settings(found)) as archive:
            if archive is None:
                raise NoSurroundings("no archive is named: set FILEFLUX_ARCHIVE_URL")
            yield ArchiveRecords(archive)
    else:
        yield None


def _as_text(question: Question, done: Salvaged) -> str:
    would = "" if question.into else "would be "
    lines = [
        f"{would}salvaged: {done.objects} objects ({done.size} bytes), {done.multiparts} of them "
        f"from multipart uploads, {done.buckets} buckets made, {done.open_multiparts} multipart "
        "uploads left open",
        *(f"node {node_id}: {count} bundles" for node_id, count in sorted(done.nodes.items())),
    ]
    if done.replayed:
        lines.append(f"behind {done.replayed} records of the audit stream")
    lines.append(f"position {done.position}, chain hash {done.chain_hash.hex()}")
    if done.findings:
        lines.append("found:")
        lines += [f"  {count} {KINDS[kind]}" for kind, count in sorted(done.findings.items())]
        lines.append(f"each of them stands in {question.details}")
    behind = " behind the stream's end" if done.replayed else ""
    lines.append(f"no record of a node tells{behind}:")
    lines += [f"  {what}" for what in UNKNOWABLE]
    return "\n".join(lines)


def _as_json(question: Question, done: Salvaged) -> str:
    told: dict[str, Any] = {
        "dry_run": not question.into,
        "objects": done.objects,
        "bytes": done.size,
        "buckets": done.buckets,
        "multiparts": done.multiparts,
        "open_multiparts": done.open_multiparts,
        "replayed": done.replayed,
        "position": done.position,
        "chain_hash": done.chain_hash.hex(),
        "nodes": dict(done.nodes),
        "findings": dict(done.findings),
        "unknown": list(UNKNOWABLE),
        "details": str(question.details),
    }
    return json.dumps(told)
