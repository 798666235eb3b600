"""The audit world with an archive, who fills it, and who signs."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.model.audit_world import Audit, open_audit, turns

from fileflux.events.topics import AUDIT, AUDIT_CHECKPOINTS
from fileflux.metadata.archive_blocks import ArchivedBlocks
from fileflux.metadata.archive_memory import MemoryArchive
from fileflux.metadata.archiver import Archiver
from fileflux.metadata.audit_publisher import AuditPublisher
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.checkpoint import Checkpoint, decode_checkpoint
from fileflux.metadata.checkpointer import Checkpointer, CheckpointTopic
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.sequencer import STREAM, Sequencer, SequencerDependencies

AFTER_S = 10.0
KEEP_S = 1_000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
EVERY_S = 60.0
EVERY_RECORDS = 1_000


class ArchiveWorld:
    """`audit` is the world beside it. `reader` sees the archive too; the archiver's does not."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.archive = MemoryArchive()
        self.reader = MemoryReader(audit.database, ArchivedBlocks(self.archive))

    async def sequencer(
        self, key: Ed25519PrivateKey = KEY, *, every_records: int = EVERY_RECORDS
    ) -> Sequencer:
        broker = self.audit.broker
        publisher = AuditPublisher(
            reader=self.reader,
            broker=broker,
            publisher=await broker.safe_publisher(),
            source=await broker.source([(AUDIT, 0)]),
            clock=self.audit.clock,
            stream=STREAM,
        )
        return Sequencer(
            SequencerDependencies(
                database=self.audit.database,
                reader=self.reader,
                publisher=publisher,
                clock=self.audit.clock,
                checkpointer=await self.checkpointer(key, every_records=every_records),
            )
        )

    async def checkpointer(
        self, key: Ed25519PrivateKey = KEY, *, every_records: int = EVERY_RECORDS
    ) -> Checkpointer:
        topic = CheckpointTopic(
            reader=self.reader,
            publisher=await self.audit.broker.safe_publisher(),
            source=await self.audit.broker.source([(AUDIT_CHECKPOINTS, 0)]),
            clock=self.audit.clock,
        )
        return Checkpointer(
            database=self.audit.database,
            reader=self.reader,
            topic=topic,
            key=key,
            clock=self.audit.clock,
            every_records=every_records,
            every_s=EVERY_S,
            archive=self.archive,
        )

    async def archiver(self, *, keep_s: float = KEEP_S) -> Archiver:
        return Archiver(
            database=self.audit.database,
            reader=MemoryReader(self.audit.database),
            source=await self.audit.broker.source([(AUDIT, 0)]),
            archive=self.archive,
            clock=self.audit.clock,
            stream=STREAM,
            after_s=AFTER_S,
            keep_s=keep_s,
        )

    async def write(self, count: int, sequencer: Sequencer) -> None:
        await self.audit.write(count)
        await turns(sequencer)

    def wait(self, seconds: float) -> None:
        self.audit.clock.advance(seconds)

    def segments(self) -> list[str]:
        return sorted(name for name in self.archive.objects if "/segments/" in name)

    def signed(self) -> list[Checkpoint]:
        """Return the checkpoints of the topic, as they came."""
        records = self.audit.broker.records(AUDIT_CHECKPOINTS)
        return [decode_checkpoint(record.value) for record in records]

    def published(self) -> list[NumberedRecord]:
        return self.audit.published()


async def open_archive_world() -> ArchiveWorld:
    return ArchiveWorld(await open_audit())


async def all_steps(archiver: Archiver) -> None:
    """Archive and let go of whatever is due."""
    while await archiver.step():
        pass


__all__ = ["AFTER_S", "KEEP_S", "KEY", "ArchiveWorld", "all_steps", "open_archive_world"]
