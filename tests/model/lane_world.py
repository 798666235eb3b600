"""Lanes with a broker, a database and whoever publishes to them: what a materializer lives in.

The parts are given, in memory or real, so that the same sentence can be proven on both. `upload`
makes a seal, `emit` and `confirm` publish what ingest and nodes publish.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.model.metadata_changes import ACTOR, AT_US, NODES, Maker

from fileflux.core.changes import Change, CreateBucket
from fileflux.core.clock import Clock
from fileflux.core.ids import Incarnation, NodeId, SealId
from fileflux.core.model import Manifest, SealedBundle, SizeClass
from fileflux.events.codec import decode_events, encode_events
from fileflux.events.dead_letter import DeadLetters
from fileflux.events.ports import Broker, EventPublisher, EventSource
from fileflux.events.schema import BundleCommitted, Event, UploadsCompleted, UploadsSealed
from fileflux.events.topics import BUNDLES_COMMITTED, UPLOADS_COMPLETED, UPLOADS_SEALED
from fileflux.metadata.audit_record import unpack_pending
from fileflux.metadata.completions import CompletionPublisher
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.lanes import places_of
from fileflux.metadata.materializer import Materializer, MaterializerDependencies
from fileflux.metadata.pending_seals import PendingSeals
from fileflux.metadata.ports import Database, MetadataReader

DEADLINE_US = 60_000_000
CRC = 7
NONE = Manifest()


class LaneWorld:
    """Make it with `open_world`. `clock` is everybody's, the database's too."""

    def __init__(
        self,
        broker: Broker,
        database: Database,
        reader: MetadataReader,
        clock: Clock,
        *,
        lanes: int,
        publisher: EventPublisher,
        answers: EventSource,
        seed: int,
    ) -> None:
        self.broker = broker
        self.database = database
        self.reader = reader
        self.clock = clock
        self.lanes = range(lanes)
        self.maker = Maker(seed)
        self.bucket: CreateBucket = self.maker.bucket(f"bucket-{seed}-{self.maker.id().hex()[:8]}")
        self.completed: list[UploadsCompleted] = []
        self._publisher = publisher
        self._answers = answers

    async def make_bucket(self) -> None:
        writer = DirectWriter(self.database, rng=random.Random(self.maker.id()))
        await writer.submit(self.maker.user())
        assert (await writer.submit(self.bucket)).ok
        await writer.close()

    async def upload(
        self, *keys: bytes, quorum: int = 1, lane: int = 0, **fields: Any
    ) -> UploadsSealed:
        """Return a seal of one bundle that holds one upload per key."""
        manifest = self.maker.chunks(*[100] * len(keys))
        changes = tuple(
            self.maker.put(self.bucket, key, manifest=replace(manifest, chunks=(chunk,)))
            for key, chunk in zip(keys, manifest.chunks, strict=True)
        )
        return await self.seal(changes, quorum=quorum, lane=lane, **fields)

    async def seal(
        self, changes: Sequence[Change], *, quorum: int = 1, lane: int = 0, **fields: Any
    ) -> UploadsSealed:
        sizes: dict[Any, int] = {}
        for chunk in (
            chunk for change in changes for chunk in getattr(change, "manifest", NONE).chunks
        ):
            sizes[chunk.bundle_id] = sizes.get(chunk.bundle_id, 0) + chunk.size
        now_us = await self.reader.clock_us()
        given: dict[str, Any] = {
            "seal_id": SealId(self.maker.id()),
            "incarnation": Incarnation(self.maker.id()),
            "lane": lane,
            "size_class": SizeClass.SMALL,
            "storage_class": "standard",
            "replicas": len(NODES),
            "quorum": quorum,
            "deadline_us": now_us + DEADLINE_US,
            "sealed_us": now_us,
            "bundles": tuple(
                SealedBundle(bundle_id, size, CRC, SizeClass.SMALL, 4, 2, NODES)
                for bundle_id, size in sizes.items()
            ),
            "changes": tuple(changes),
        }
        return UploadsSealed(**(given | fields))

    async def emit(self, *seals: UploadsSealed) -> None:
        for seal in seals:
            await self.publish(UPLOADS_SEALED, seal, seal.lane)

    async def confirm(
        self, seal: UploadsSealed, *nodes: NodeId, lane: int | None = None, **fields: Any
    ) -> None:
        """Publish each node's commit of every bundle of the seal."""
        for node_id in nodes:
            for bundle in seal.bundles:
                commit = commit_of(seal, bundle, node_id, **fields)
                await self.publish(BUNDLES_COMMITTED, commit, seal.lane if lane is None else lane)

    async def publish(self, topic: str, event: Event, lane: int) -> None:
        await self._publisher.publish(topic, encode_events([event]), partition=lane)

    async def publish_bytes(self, topic: str, value: bytes, lane: int) -> None:
        await self._publisher.publish(topic, value, partition=lane)

    async def materializer(
        self, *, pending: PendingSeals | None = None, fetch_wait_s: float = 0.1
    ) -> Materializer:
        source = await self.broker.source(places_of(list(self.lanes)))
        publisher = await self.broker.fast_publisher()
        return Materializer(
            MaterializerDependencies(
                database=self.database,
                reader=self.reader,
                source=source,
                completions=CompletionPublisher(publisher, clock=self.clock),
                dead_letters=DeadLetters(publisher, clock=self.clock),
                clock=self.clock,
                lanes=list(self.lanes),
                pending=PendingSeals() if pending is None else pending,
                fetch_wait_s=fetch_wait_s,
            )
        )

    async def read_answers(self, *, wait_s: float = 0.05) -> list[UploadsCompleted]:
        """Return every completion published so far."""
        for record in await self._answers.fetch(wait_s=wait_s):
            self.completed += [
                e for e in decode_events(record.value) if isinstance(e, UploadsCompleted)
            ]
        return self.completed

    async def statuses(self, seal: UploadsSealed) -> list[str] | None:
        """Return the stored outcomes of a seal, None while it has none."""
        state = (await self.reader.seal_states({seal.seal_id: ()}))[seal.seal_id]
        if state.settlement is None:
            return None
        return [outcome.status for outcome in state.settlement.outcomes]

    async def version_of(self, key: bytes) -> Any:
        """Return the version id of a key's current version, None if there is none."""
        found = (await self.reader.find_objects([(self.bucket.bucket, key)]))[0]
        return None if found.row is None else found.row.version_id

    async def record_count(self) -> int:
        """Return how many audit records wait for their number or have it."""
        pending = await self.reader.pending_audit(limit=100_000)
        return sum(len(unpack_pending(payload)) for _, _, payload in pending)


async def open_world(
    broker: Broker,
    database: Database,
    reader: MetadataReader,
    clock: Clock,
    *,
    lanes: int = 1,
    seed: int = 0,
) -> LaneWorld:
    world = LaneWorld(
        broker,
        database,
        reader,
        clock,
        lanes=lanes,
        publisher=await broker.fast_publisher(),
        answers=await broker.source([(UPLOADS_COMPLETED, lane) for lane in range(lanes)]),
        seed=seed,
    )
    await world.make_bucket()
    return world


def commit_of(
    seal: UploadsSealed, bundle: SealedBundle, node_id: NodeId, **fields: Any
) -> BundleCommitted:
    given: dict[str, Any] = {
        "bundle_id": bundle.bundle_id,
        "seal_id": seal.seal_id,
        "node_id": node_id,
        "node_epoch": 1,
        "size": bundle.size,
        "crc": bundle.crc,
        "received_us": AT_US,
        "pulled_us": AT_US + 1,
        "durable_us": AT_US + 2,
    }
    return BundleCommitted(**(given | fields))


__all__ = ["ACTOR", "NODES", "LaneWorld", "commit_of", "open_world"]
