"""What must hold when everything has healed and settled: I1, I3, I6, I9, I10, I11 and the rest.

Histories are judged by the linearizability checker; rows, inventories and the audit stream are
compared with each other, whitebox.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.model.linearizability import TooHard, is_linearizable
from tests.simulation.clients import Clients

from fileflux.core.ids import BundleId
from fileflux.core.model import Manifest
from fileflux.events.audit import from_record
from fileflux.events.topics import AUDIT, all_topics, dead_letter_topic
from fileflux.metadata.audit_record import decode_record
from fileflux.metadata.chain import ChainState, NumberedRecord, unpack_block, verify_chain
from fileflux.metadata.replay import Floors, empty_tables, replay
from fileflux.metadata.row_keys import ROW_TYPES
from fileflux.metadata.rows import AuditRecord, GarbageRow
from fileflux.metadata.sequencer import STREAM

if TYPE_CHECKING:
    from tests.simulation.world import World

ChunkName = tuple[BundleId, int]


def judge(world: "World", clients: Clients) -> list[str]:
    """Return a sentence for everything that is wrong."""
    records = _stored_records(world)
    return [
        *_history_faults(world, clients),
        *_audit_faults(world),
        *_effect_faults(clients, records),
        *_replay_faults(world, records),
        *_usage_faults(world),
        *_replica_faults(world),
        *_chunk_faults(world),
        *_dead_letters(world),
    ]


def is_settled(world: "World") -> bool:
    """Whether every service has caught up: nothing pending, and the topic at the head."""
    rows = world.database.tables.rows
    if rows("audit_pending"):
        return False
    head = rows("heads").get((STREAM,))
    published = world.broker.records(AUDIT)
    last = from_record(published[-1]).position if published else 0
    return head is not None and last + 1 == head.next_position


def staged_bundles(world: "World") -> int:
    return sum(len(files) for files in world.host.files.values())


def _history_faults(world: "World", clients: Clients) -> Iterator[str]:
    """I1, I3: each key is one register."""
    for key, operations in clients.history.by_key().items():
        try:
            is_right = is_linearizable(operations)
        except TooHard:
            world.coverage.add("history not judged")
        else:
            if not is_right:
                yield f"{key}: no order of its {len(operations)} operations explains what was read"


def _stored_records(world: "World") -> list[AuditRecord]:
    blocks = world.database.tables.rows("audit_blocks")
    ordered = [blocks[key] for key in sorted(blocks)]
    return [decode_record(one.payload) for block in ordered for one in unpack_block(block)]


def _audit_faults(world: "World") -> Iterator[str]:
    """I9: the topic is the database's history, gapless and chained."""
    events = [from_record(record) for record in world.broker.records(AUDIT)]
    published = [
        NumberedRecord(e.position, e.stream, e.sequence, e.previous_hash, e.value)  # type: ignore[arg-type]
        for e in events
    ]
    read = _as_read(published)
    if [one.position for one in published] != sorted(one.position for one in published):
        world.coverage.add("audit published again")
    head = world.database.tables.get("heads", (STREAM,))
    faults, _ = verify_chain(read, after=ChainState(), head=head)
    for fault in faults:
        yield f"audit: {fault}"


def _as_read(published: list[NumberedRecord]) -> list[NumberedRecord]:
    """What a reader takes who skips what it has and waits for what is missing.

    A record that was on its way when the topic was wiped, or lost its tail, stands there too early;
    it comes again in its turn.
    """
    read: list[NumberedRecord] = []
    for one in published:
        if one.position == len(read) + 1:
            read.append(one)
    return read


def _effect_faults(clients: Clients, records: list[AuditRecord]) -> Iterator[str]:
    """I6: one record per change; none of what was said not to have applied."""
    counts = Counter(record.record_id for record in records)
    for record_id, count in counts.items():
        if count > 1:
            yield f"upload {record_id.hex()} has {count} audit records"
        if record_id in clients.failed:
            told = clients.failed[record_id]
            yield f"upload {record_id.hex()} applied although its client was told {told}"
    for upload_id, key in clients.acked.items():
        if upload_id not in counts:
            yield f"{key}: acked upload {upload_id.hex()} has no audit record"


def _replay_faults(world: "World", records: list[AuditRecord]) -> Iterator[str]:
    """I9: the records alone give every audited table, row for row."""
    tables, floors = empty_tables(), Floors()
    replay(records, tables, floors)
    for table in ROW_TYPES:
        if tables[table] != world.database.tables.rows(table):
            yield f"replaying the audit stream gives another table {table}"
    if floors != world.database.tables.rows("floors"):
        yield "replaying the audit stream gives other floors"


def _usage_faults(world: "World") -> Iterator[str]:
    """I11: usage is the sum of the visible objects."""
    counted: dict[Any, tuple[int, int]] = {}
    for row in world.database.tables.rows("objects").values():
        objects, size = counted.get(row.bucket_id, (0, 0))
        counted[row.bucket_id] = (objects + 1, size + row.size)
    for bucket_id, usage in world.database.tables.rows("usage").items():
        if usage != counted.get(bucket_id[0], (0, 0)):
            yield f"usage says {usage}, the rows say {counted.get(bucket_id[0], (0, 0))}"


def _replica_faults(world: "World") -> Iterator[str]:
    """Every live bundle has W good replicas; a replica row stands for bytes on that node."""
    bundles = world.database.tables.rows("bundles")
    good: Counter[BundleId] = Counter()
    for (bundle_id, node_id), row in world.database.tables.rows("replicas").items():
        bundle = bundles.get((bundle_id,))
        if bundle is None or world.chaos.is_damaged(node_id, bundle_id):
            continue
        is_true = (row.size, row.crc) == (bundle.size, bundle.crc)
        if not is_true and not world.chaos.is_lied_about(node_id, bundle_id):
            continue
        if world.node(node_id).store.is_whole(bundle_id, (bundle.size, bundle.crc)):
            good[bundle_id] += 1
        elif is_true:
            yield f"{node_id} does not hold bundle {bundle_id.hex()} that it confirmed"
    for (bundle_id,), bundle in bundles.items():
        least = world.storage_class.quorum - world.chaos.damage_of(bundle_id)
        if bundle.state == "live" and good[bundle_id] < least:
            yield f"live bundle {bundle_id.hex()} has {good[bundle_id]} good replicas"


def _chunk_faults(world: "World") -> Iterator[str]:
    """I10: each chunk of a live bundle is referenced or garbage, never both, never neither."""
    rows = world.database.tables.rows
    used = set(_referenced(rows))
    garbage: Counter[ChunkName] = Counter()
    dropped: list[GarbageRow] = list(rows("garbage").values())
    for row in dropped:
        garbage.update((row.bundle_id, number) for number in row.chunk_numbers)
    for (bundle_id,), bundle in rows("bundles").items():
        holder = next((n for n in world.nodes if bundle_id in n.store.holdings()), None)
        if bundle.state != "live" or holder is None:
            continue
        for number in holder.store.chunks_of(bundle_id):
            name = (bundle_id, number)
            if (name in used) == (garbage[name] > 0):
                kind = "both used and garbage" if name in used else "neither used nor garbage"
                yield f"chunk {number} of bundle {bundle_id.hex()} is {kind}"
    for name, count in garbage.items():
        if count > 1:
            yield f"chunk {name[1]} of bundle {name[0].hex()} was dropped {count} times"


def _referenced(rows: Any) -> Iterator[ChunkName]:
    manifests: list[Manifest] = [row.manifest for row in rows("objects").values()]
    manifests += [row.manifest for row in rows("parts").values()]
    manifests += [row.manifest for row in rows("holders").values() if row.manifest is not None]
    for manifest in manifests:
        for chunk in manifest.chunks:
            yield chunk.bundle_id, chunk.number


def _dead_letters(world: "World") -> Iterator[str]:
    """Nobody sent poison, so nothing may have been set aside."""
    for topic in all_topics():
        if topic.name == dead_letter_topic(topic.name.removesuffix(dead_letter_topic(""))):
            for record in world.broker.records(topic.name):
                yield f"{topic.name}: {dict(record.headers)}"
