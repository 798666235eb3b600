"""One suite for every database: the archive's head, what leaves the database, checkpoints, keys."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.model.metadata_ports import Metadata, memory_metadata, postgres_metadata

from fileflux.core.errors import LaneLost
from fileflux.metadata.archive_blocks import first_archive_head
from fileflux.metadata.chain import first_head, number_blocks
from fileflux.metadata.migrate import migrate
from fileflux.metadata.ports import ArchiveHead, AuditBlock, StoredCheckpoint, Transaction


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
async def metadata(request: pytest.FixtureRequest) -> AsyncIterator[Metadata]:
    if request.param == "memory":
        async with memory_metadata() as made:
            yield made
        return
    dsn = request.getfixturevalue("postgres_dsn")
    await migrate(dsn, rng=random.Random(1))
    async with postgres_metadata(dsn) as made:
        yield made


async def numbered(metadata: Metadata, count: int) -> list[AuditBlock]:
    """Number that many changes, a block each, in a stream set of the test's own."""
    bucket = await metadata.made_bucket()
    head, blocks = first_head(metadata.name), list[AuditBlock]()
    for _ in range(count):
        await metadata.do(metadata.maker.create_multipart(bucket, b"k"))
        (pending, *_) = await metadata.reader.pending_audit(limit=1)
        block, after, sequences = number_blocks(head, [pending], {})

        async def number(
            transaction: Transaction,
            before: tuple[object, ...] = (head, after, pending, block, sequences),
        ) -> None:
            one, other, taken, made, touched = before
            await transaction.move_head(one, other)  # type: ignore[arg-type]
            await transaction.number_pending([taken[0]], made, touched)  # type: ignore[index, arg-type]

        await metadata.database.run(number)
        head = after
        blocks.append(block)
    return blocks


def checkpoint(stream: str, number: int, line: bytes = b"{}") -> StoredCheckpoint:
    return StoredCheckpoint(stream, number, number * 10, line)


async def test_the_archives_head_moves_for_whoever_knows_its_turn(metadata: Metadata) -> None:
    before = await metadata.reader.archive_head(metadata.name)
    assert before == first_archive_head(metadata.name)
    after = replace(before, turn=1, next_position=8, chain_hash=bytes(31) + b"\x01", kept_from=3)

    async def move(transaction: Transaction) -> None:
        await transaction.move_archive_head(before, after)

    await metadata.database.run(move)
    assert await metadata.reader.archive_head(metadata.name) == after
    with pytest.raises(LaneLost):
        await metadata.database.run(move)
    assert await metadata.reader.archive_head(metadata.name) == after


async def test_blocks_leave_by_range_and_no_others_with_them(metadata: Metadata) -> None:
    blocks = await numbered(metadata, 4)
    starts = [block.first_position for block in blocks]
    await metadata.database.run(lambda t: t.drop_blocks(metadata.name, 1, starts[2]))

    assert await metadata.reader.audit_blocks(metadata.name, 1, limit=10) == blocks[2:]
    assert await metadata.reader.audit_blocks(metadata.name, starts[3], limit=10) == blocks[3:]


async def test_whoever_lost_the_archives_head_drops_nothing(metadata: Metadata) -> None:
    blocks = await numbered(metadata, 2)
    head = replace(first_archive_head(metadata.name), turn=5)

    async def drop(transaction: Transaction) -> None:
        await transaction.move_archive_head(head, replace(head, turn=6))
        await transaction.drop_blocks(metadata.name, 1, 1_000)

    await metadata.database.run(lambda t: t.move_archive_head(*_first_move(metadata.name)))
    with pytest.raises(LaneLost):
        await metadata.database.run(drop)
    assert await metadata.reader.audit_blocks(metadata.name, 1, limit=10) == blocks


def _first_move(stream: str) -> tuple[ArchiveHead, ArchiveHead]:
    head = first_archive_head(stream)
    return head, replace(head, turn=1)


async def test_a_checkpoints_number_is_taken_once(metadata: Metadata) -> None:
    stream, key = metadata.name, metadata.maker.id() * 2

    async def add(one: StoredCheckpoint, at_us: int) -> None:
        await metadata.database.run(lambda t: t.add_checkpoint(one, public_key=key, at_us=at_us))

    first, second = checkpoint(stream, 1), checkpoint(stream, 2, b'{"second": true}')
    await add(first, 5)
    await add(second, 6)
    with pytest.raises(LaneLost):
        await add(checkpoint(stream, 2, b"other"), 7)

    assert await metadata.reader.checkpoints(stream, 1, limit=10) == [first, second]
    assert await metadata.reader.checkpoints(stream, 2, limit=10) == [second]
    assert await metadata.reader.checkpoints(stream, 1, limit=1) == [first]
    assert await metadata.reader.last_checkpoint(stream) == second
    assert (key, 5) in await metadata.reader.audit_keys(), "since its first signature"


async def test_a_stream_without_checkpoints_has_none(metadata: Metadata) -> None:
    assert await metadata.reader.last_checkpoint(metadata.name) is None
    assert await metadata.reader.checkpoints(metadata.name, 1, limit=10) == []
