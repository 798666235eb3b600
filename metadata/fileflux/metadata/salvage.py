"""Make a database from what the nodes' own records tell, behind an audit stream if there is one.

The stream is replayed first, as a rebuild does. Then the uploads that it does not name are decided
one after another, by `apply`, each as of its own time, and their records go on where the stream
ends: position, sequence and chain hold, and a rebuild from the result ends with the same rows. The
first of these records says that it is a salvage, and what it could not know.

Everything that the nodes said is in memory: about 2 KB an upload.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from fileflux.core.changes import OK
from fileflux.core.clock import Clock
from fileflux.core.ids import BucketId, BundleId, NodeId
from fileflux.core.model import StorageClass
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.audit_facts import OPERATIONS, actor_facts
from fileflux.metadata.audit_record import SALVAGE, SYSTEM_STREAM, encode_record
from fileflux.metadata.chain import FIRST_SEQUENCE, NumberedRecord, next_hash
from fileflux.metadata.ports import Database, MetadataReader, Transaction
from fileflux.metadata.rebuild import BYTES_PER_BATCH, EVERYTHING, RECORDS_PER_BATCH, Rebuild, Until
from fileflux.metadata.rebuild_target import RebuildRefused, RebuildTarget
from fileflux.metadata.record_sources import RecordSource
from fileflux.metadata.replay_batch import ReplayBatch, data_of
from fileflux.metadata.rows import AuditRecord, Footprint, ReplicaRow, Rows
from fileflux.metadata.salvage_changes import (
    Bundles,
    Owner,
    Step,
    StepMaker,
    bucket_step,
    derived_id,
    owner_step,
)
from fileflux.metadata.salvage_evidence import Evidence
from fileflux.metadata.salvage_findings import UNKNOWABLE, Findings
from fileflux.metadata.salvage_plan import Known, NewBucket, Plan, Write, make_plan, newer_uploads
from fileflux.metadata.salvage_stream import Listening
from fileflux.metadata.salvage_uploads import FoundUpload, found_uploads

ROWS_PER_LOAD: Final = 200
REPLICAS_PER_STORE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SalvageOptions:
    """`assembles`: take multipart uploads that look complete for completed. `until`: the stream."""

    owner: Owner
    classes: Mapping[str, StorageClass]
    assembles: bool = True
    until: Until = EVERYTHING


@dataclass(slots=True, kw_only=True)
class Salvaged:
    """What came of it. `replayed`: records of the stream. `nodes`: bundles that each node told."""

    nodes: dict[NodeId, int]
    replayed: int = 0
    buckets: int = 0
    objects: int = 0
    size: int = 0
    multiparts: int = 0
    open_multiparts: int = 0
    position: int = 0
    chain_hash: bytes = b""
    findings: Mapping[str, int] = field(default_factory=dict)


async def begin_empty(target: RebuildTarget) -> None:
    """Raise RebuildRefused unless nothing was written into the database yet."""
    if (await target.begin()).turn:
        raise RebuildRefused(
            "a rebuild or salvage into this database ended early: give an empty one"
        )


class Salvage:
    """One run, into an empty database. The caller outlives the seals and finishes the target."""

    def __init__(
        self,
        database: Database,
        reader: MetadataReader,
        target: RebuildTarget,
        *,
        findings: Findings,
        clock: Clock,
        options: SalvageOptions,
    ) -> None:
        self._database = database
        self._reader = reader
        self._target = target
        self._findings = findings
        self._clock = clock
        self._options = options

    async def run(self, evidence: Evidence, source: RecordSource | None = None) -> Salvaged:
        """Return what was salvaged. Raise RebuildRefused when there is nothing, or no room for it.

        Also what a rebuild from `source` raises. A run that ended early left a database that no
        service starts on: begin again with an empty one.
        """
        await begin_empty(self._target)
        now_us, findings = self._clock.now_us(), self._findings
        done = Salvaged(nodes=dict(evidence.counts))
        bundles = evidence.bundles()
        uploads = found_uploads(bundles, findings, now_us=now_us)
        known = await self._replay(source, uploads, done)
        newer = newer_uploads(uploads, known, findings)
        await self._load_known(known, newer)
        plan = make_plan(newer, known, findings, assembles=self._options.assembles)
        if not plan.writes and source is None:
            raise RebuildRefused("the nodes' records tell of no object that could be salvaged")
        options = self._options
        maker = StepMaker(bundles, options.owner, options.classes, known.accepted)
        _count(done, plan, maker, bundles, findings)
        done.findings = dict(findings.counts)
        await self._write(plan, maker, known, done)
        await self._store_replicas(bundles)
        done.findings = dict(findings.counts)
        state = self._target.state()
        done.position, done.chain_hash = state.next_position - 1, state.chain_hash
        return done

    async def _replay(
        self, source: RecordSource | None, uploads: Sequence[FoundUpload], done: Salvaged
    ) -> Known:
        known = Known()
        if source is not None:
            until = self._options.until
            listening = Listening(source, until, known, uploads)
            run = Rebuild(listening, self._target, clock=self._clock, until=until)
            done.replayed = (await run.run()).records
            known.end_us = await self._target.last_stamp()
        return known

    async def _load_known(self, known: Known, uploads: Sequence[FoundUpload]) -> None:
        """Read the rows that the plan compares with. Nothing is there without a stream."""
        if not known.end_us:
            return
        for some in _batches(iter(uploads)):
            places = {(u.meta.bucket_id, u.meta.key) for u in some if u.meta.multipart_id is None}
            multiparts = {u.meta.multipart_id for u in some if u.meta.multipart_id is not None}
            rows = await self._load(
                Footprint(sources=frozenset(places), multiparts=dict.fromkeys(multiparts))
            )
            known.objects.update(rows.objects)
            known.uploads.update(rows.uploads)
            for (upload_id, number), part in rows.parts.items():
                known.parts.setdefault(upload_id, {})[number] = part

    async def _write(self, plan: Plan, maker: StepMaker, known: Known, done: Salvaged) -> None:
        owner = self._options.owner
        first_us = min(
            [*(b.created_us for b in plan.buckets), *(w.order[0] for w in plan.writes)],
            default=known.end_us,
        )
        writing = _Writing(self._target, known.end_us)
        await writing.add([self._announcement(done, max(known.end_us, first_us))])
        if await self._reader.find_user(owner.name) is None:
            await self._decide(writing, [owner_step(owner, first_us)])
            await writing.flush()  # Its buckets read it.
        for buckets, writes in _timeline(plan):
            await self._decide(writing, [bucket_step(bucket, owner) for bucket in buckets])
            if buckets:
                await writing.flush()  # Their uploads read them.
            for some in _batches(iter(writes), _row_count):
                await self._decide(writing, [maker.step(write) for write in some])
        await writing.flush()

    async def _decide(self, writing: "_Writing", steps: Sequence[Step]) -> None:
        """Decide steps that do not touch each other's rows, each as of its own time."""
        if not steps:
            return
        rows = await self._load(footprint([change for step in steps for change in step.changes]))
        for step in steps:
            at_us = max(step.at_us, writing.stamp + 1)
            writes, outcomes = apply(
                replace(rows, clock_us=at_us - 1), step.changes, seals=step.seals
            )
            for change, outcome in zip(step.changes, outcomes, strict=True):
                if outcome.status != OK:
                    self._findings.note(
                        "not_applied",
                        operation=OPERATIONS[type(change)],
                        upload=change.upload_id,
                        why=f"{outcome.status} {outcome.detail}".strip(),
                    )
            marked = [
                replace(record, facts={**record.facts, "salvaged": True}) for record in writes.audit
            ]
            await writing.add(marked)

    def _announcement(self, done: Salvaged, stamp: int) -> AuditRecord:
        facts: dict[str, object] = {
            "outcome": OK,
            "nodes": done.nodes,
            "objects": done.objects,
            "bytes": done.size,
            "findings": dict(done.findings),
            "unknown": list(UNKNOWABLE),
        }
        owner = self._options.owner
        at_us = self._clock.now_us()
        return AuditRecord(
            record_id=derived_id(at_us.to_bytes(8, "big"), b"salvage"),
            bucket_id=None,
            bucket="",
            operation=SALVAGE,
            key=None,
            at_us=at_us,
            stamp=stamp,
            actor=actor_facts(owner.actor),
            facts=facts,
            effects=(),
        )

    async def _store_replicas(self, bundles: Bundles) -> None:
        """Store who holds what, also of bundles that only the stream names."""
        rows = (
            ReplicaRow(
                bundle_id=bundle_id,
                node_id=node_id,
                epoch=0,
                size=bundle.header.sealed[0],
                crc=bundle.header.sealed[1],
            )
            for bundle_id, bundle in bundles.items()
            for node_id in sorted(bundle.holders)
        )
        while some := list(islice(rows, REPLICAS_PER_STORE)):
            await self._target.store_replicas(some)

    async def _load(self, wanted: Footprint) -> Rows:
        async def work(transaction: Transaction) -> Rows:
            return await transaction.load_rows(wanted)

        return await self._database.run(work)


class _Writing:
    """Numbers records and stores them in blocks, as the sequencer and a rebuild would."""

    def __init__(self, target: RebuildTarget, stamp: int) -> None:
        self.stamp = stamp
        self._target = target
        self._waiting: list[NumberedRecord] = []
        self._size = 0
        self._sequences: dict[BucketId, int] = {}
        state = target.state()
        self._position, self._hash = state.next_position, state.chain_hash

    async def add(self, records: Sequence[AuditRecord]) -> None:
        streams = {record.bucket_id or SYSTEM_STREAM for record in records}
        unknown = sorted(streams - self._sequences.keys())
        self._sequences.update(await self._target.sequences(unknown) if unknown else {})
        for record in records:
            payload = encode_record(record)
            if self._size + len(payload) > BYTES_PER_BATCH:
                await self.flush()
            stream = record.bucket_id or SYSTEM_STREAM
            sequence = self._sequences.get(stream, FIRST_SEQUENCE)
            self._sequences[stream] = sequence + 1
            self._waiting.append(
                NumberedRecord(self._position, stream, sequence, self._hash, payload)
            )
            self._position, self._hash = self._position + 1, next_hash(self._hash, payload)
            self._size += len(payload)
            self.stamp = record.stamp
            if len(self._waiting) >= RECORDS_PER_BATCH:
                await self.flush()

    async def flush(self) -> None:
        """Store what waits, all or nothing."""
        records, self._waiting, self._size = self._waiting, [], 0
        if not records:
            return
        batch = ReplayBatch()
        for record in records:
            batch.add(data_of(record), record.position)
        following = {record.stream: record.sequence + 1 for record in records}
        await self._target.store(batch, list(batch.writes()), records, following)


def _count(
    done: Salvaged, plan: Plan, maker: StepMaker, bundles: Bundles, findings: Findings
) -> None:
    """Count what the plan brings back, and tell of bundles that have too few replicas."""
    done.buckets = len(plan.buckets)
    told: set[BundleId] = set()
    classes: set[str] = set()
    for write in plan.writes:
        uploads = [write] if isinstance(write, FoundUpload) else write.parts
        is_object = isinstance(write, FoundUpload) or bool(write.listed)
        done.objects += is_object
        if not isinstance(write, FoundUpload):
            done.multiparts += bool(write.listed)
            done.open_multiparts += not write.listed
        for upload in uploads:
            classes.add(upload.said.storage_class)
            done.size += upload.said.size if is_object else 0
            for bundle_id in {chunk.bundle_id for chunk in upload.content.chunks} - told:
                told.add(bundle_id)
                nodes = sorted(bundles[bundle_id].holders)
                wanted = maker.wanted(upload.said.storage_class, len(nodes))
                if len(nodes) < wanted:
                    findings.note("too_few_replicas", bundle=bundle_id, nodes=nodes, wanted=wanted)
    for name in sorted(filter(maker.lacks, classes)):
        findings.note("class_unknown", storage_class=name)


def _timeline(plan: Plan) -> Iterator[tuple[list[NewBucket], list[Write]]]:
    """Yield buckets, and the writes that come before the next bucket: all in order of time."""
    buckets = sorted(plan.buckets, key=lambda bucket: bucket.created_us)
    borders = [bucket.created_us for bucket in buckets]
    runs: list[list[Write]] = [[] for _ in range(len(buckets) + 1)]
    for write in plan.writes:
        runs[bisect_right(borders, write.order[0])].append(write)
    yield [], runs[0]
    waiting: list[NewBucket] = []
    for bucket, writes in zip(buckets, runs[1:], strict=True):
        waiting.append(bucket)
        if writes:
            yield waiting, writes
            waiting = []
    yield waiting, []


def _batches(
    items: Iterator[Any], weigh: Callable[[Any], int] = lambda _: 1
) -> Iterator[list[Any]]:
    """Yield items in lists of ROWS_PER_LOAD at most, or of one that is heavier alone."""
    some: list[Any] = []
    weight = 0
    for item in items:
        if some and weight + weigh(item) > ROWS_PER_LOAD:
            yield some
            some, weight = [], 0
        some.append(item)
        weight += weigh(item)
    if some:
        yield some


def _row_count(write: Write) -> int:
    return 1 if isinstance(write, FoundUpload) else len(write.parts)
