"""A sequencer's surroundings on the in-memory twins: a database, a broker, a clock."""

import random

from tests.model.lane_world import LaneWorld, open_world

from fileflux.core.clock import ManualClock
from fileflux.events.audit import AuditStream, from_record
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import EventPublisher
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.chain import NumberedRecord, verify_chain
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies

TURNS = 4


class Audit:
    """A database with a bucket, a broker, a clock, and sequencers over them."""

    def __init__(self, world: LaneWorld, broker: MemoryBroker, clock: ManualClock) -> None:
        self.world = world
        self.broker = broker
        self.clock = clock
        self.writer = DirectWriter(world.database, rng=random.Random(1))

    @property
    def database(self) -> MemoryDatabase:
        assert isinstance(self.world.database, MemoryDatabase)
        return self.world.database

    async def publisher(self, by: EventPublisher) -> AuditPublisher:
        return AuditPublisher(
            reader=self.world.reader,
            broker=self.broker,
            publisher=by,
            source=await self.broker.source([(AUDIT, 0)]),
            clock=self.clock,
            stream=STREAM,
        )

    async def sequencer(self) -> Sequencer:
        publisher = await self.publisher(await self.broker.safe_publisher())
        return Sequencer(
            SequencerDependencies(
                database=self.world.database,
                reader=self.world.reader,
                publisher=publisher,
                clock=self.clock,
            )
        )

    async def write(self, count: int) -> None:
        """Commit that many changes, a transaction each."""
        for _ in range(count):
            change = self.world.maker.create_multipart(self.world.bucket, b"k")
            assert (await self.writer.submit(change)).ok

    def published(self) -> list[NumberedRecord]:
        """Return what the topic holds, as it came."""
        events = [from_record(record) for record in self.broker.records(AUDIT)]
        return [
            NumberedRecord(e.position, e.stream, e.sequence, e.previous_hash, e.value)  # type: ignore[arg-type]
            for e in events
        ]

    async def faults(self) -> list[object]:
        """Return what is wrong with the topic; the last record's end is the head's."""
        head = await self.world.reader.audit_head(STREAM)
        found, _ = verify_chain(self.published(), head=head)
        return list(found)

    async def read_once(self) -> list[int]:
        """Return the positions that a reader sees, who skips what it has."""
        stream = AuditStream(await self.broker.source([(AUDIT, 0)]))
        await stream.seek(1)
        return [event.position for event in await stream.fetch(max_records=100_000, wait_s=0.01)]


async def open_audit() -> Audit:
    clock = ManualClock()
    broker = MemoryBroker(clock=clock, lanes=1)
    database = MemoryDatabase(clock)
    world = await open_world(broker, database, MemoryReader(database), clock)
    return Audit(world, broker, clock)


async def turns(*sequencers: Sequencer, count: int = TURNS) -> None:
    for _ in range(count):
        for one in sequencers:
            await one.turn()
