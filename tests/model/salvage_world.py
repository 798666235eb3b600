"""What nodes in memory hold, as a salvage is told it; and a salvage into a database in memory."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from tests.model.s3_world import CLASSES, MASTER_KEY, NODES, QUICK_HASHER, S3World
from tests.model.s3_world import ROOT as ROOT_USER

from fileflux.core.clock import Clock, ManualClock
from fileflux.core.ids import BundleId, NodeId, UserId
from fileflux.core.node_records import HeldBundle, decode_records, encode_record, record_length
from fileflux.ingest.app import S3App
from fileflux.ingest.basic import ArgonPasswords
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.chunk_cache import ChunkCache
from fileflux.ingest.identities import DatabaseIdentities
from fileflux.ingest.memory_pipeline import FixedPlacement
from fileflux.ingest.reading import ManifestLookup, ObjectReader
from fileflux.ingest.replica_reader import ChunkReader, ReplicaReader
from fileflux.ingest.root_user import ensure_root
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.ports import Database, MetadataReader
from fileflux.metadata.rebuild_target import RebuildTarget
from fileflux.metadata.record_sources import RecordSource
from fileflux.metadata.salvage import Salvage, Salvaged, SalvageOptions
from fileflux.metadata.salvage_changes import Owner
from fileflux.metadata.salvage_evidence import Evidence
from fileflux.metadata.salvage_findings import Findings
from fileflux.storage_node.memory_store import MemoryStore

ROOT = Owner(UserId(b"fileflux-root-00"), "root")
LATE = ManualClock(now_us=9_000_000_000_000_000)


@dataclass
class Told:
    """What a salvage made: the database, its report, and the lines of details."""

    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    lines: list[dict[str, Any]] = field(default_factory=list)
    done: Salvaged = field(default_factory=lambda: Salvaged(nodes={}))

    @property
    def reader(self) -> MemoryReader:
        return MemoryReader(self.database)

    @property
    def found(self) -> dict[str, int]:
        return dict(self.done.findings)

    def objects(self) -> dict[tuple[bytes, bytes], Any]:
        """Return the salvaged rows by (bucket id, key)."""
        return dict(self.database.tables.rows("objects"))


async def held_by(store: MemoryStore) -> list[HeldBundle]:
    """Return what a node would send of its bundles, as its client reads it."""
    page = bytearray()
    for item in await store.inventory(None, 100_000):
        held = await store.open(item.bundle_id)
        header = held.view.header
        raw = bytes(held.data)
        record = raw[:96] + raw[header.tables_offset :]
        assert len(record) == record_length(header)
        page += encode_record(item.bundle_id, record)
    return decode_records(page)


async def records_of_nodes(world: S3World) -> dict[NodeId, list[HeldBundle]]:
    return {node_id: await held_by(store) for node_id, store in world.nodes.stores.items()}


async def salvage(
    held: Mapping[NodeId, Iterable[HeldBundle]],
    *,
    source: RecordSource | None = None,
    clock: Clock = LATE,
    database: MemoryDatabase | None = None,
    **options: Any,
) -> Told:
    """Salvage into a database in memory, an empty one if none is given, to the end."""
    told = Told(database or MemoryDatabase())
    findings = Findings(lambda line: told.lines.append(orjson.loads(line)))
    evidence = Evidence(findings)
    for node_id, bundles in held.items():
        for bundle in bundles:
            evidence.add(node_id, bundle)
    target = RebuildTarget(told.database, told.reader)
    chosen = SalvageOptions(owner=ROOT, classes=CLASSES, **options)
    run = Salvage(
        told.database, told.reader, target, findings=findings, clock=clock, options=chosen
    )
    told.done = await run.run(evidence, source)
    await target.finish()
    return told


def without(
    held: Mapping[NodeId, Iterable[HeldBundle]], *lost: tuple[NodeId, BundleId]
) -> dict[NodeId, list[HeldBundle]]:
    """Return the same without some replicas."""
    return {
        node_id: [one for one in bundles if (node_id, one.bundle_id) not in lost]
        for node_id, bundles in held.items()
    }


async def serve(
    world: S3World,
    database: Database,
    reader: MetadataReader,
    *,
    nodes: ChunkReader | None = None,
    placement: FixedPlacement | None = None,
) -> S3App:
    """Return an application over another database, on the same nodes or others. Bytes it stores
    go to the world's own."""
    identities = DatabaseIdentities(reader, MASTER_KEY, world.clock)
    view = placement or FixedPlacement(NODES)
    replicas = ReplicaReader(nodes or world.nodes, view, reader, clock=world.clock)
    deps = replace(
        world.deps,
        reader=reader,
        direct=DirectWriter(database, rng=random.Random(1)),
        buckets=BucketDirectory(reader, world.clock),
        lookup=ManifestLookup(reader),
        objects=ObjectReader(reader, replicas, cache=ChunkCache(0), memory=world.memory),
        credentials=identities,
        passwords=ArgonPasswords(identities, QUICK_HASHER),
    )
    await ensure_root(deps, ROOT_USER.access_key, ROOT_USER.secret_key)
    return S3App(deps, host_id="salvaged")
