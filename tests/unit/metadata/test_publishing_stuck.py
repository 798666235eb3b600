"""A position that nobody can give unchanged: what comes is numbered, and nothing is skipped."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.model.archive_world import AFTER_S, KEEP_S, ArchiveWorld, all_steps, open_archive_world
from tests.model.audit_world import turns

from fileflux.core.telemetry import AUDIT_STUCK
from fileflux.events.topics import AUDIT
from fileflux.metadata.archive_format import decode_segment, encode_segment, segment_of
from fileflux.metadata.audit_publisher import LOOK_AGAIN_S
from fileflux.metadata.chain import FIRST_HASH, NumberedRecord, block_of, unpack_block
from fileflux.metadata.sequencer import STREAM, Sequencer
from fileflux.metadata.workers import ready_check

RECORDS = 12


def _cut(body: bytes) -> bytes | None:
    return body[:-20]


def _gone(_: bytes) -> bytes | None:
    return None


Damage = Callable[[bytes], bytes | None]


@pytest.fixture
async def world() -> ArchiveWorld:
    """A first segment whose range left the database, a second one, and the topic whole."""
    made = await open_archive_world()
    sequencer = await made.sequencer()
    for age_s in (KEEP_S, 0.0):
        await made.write(5, sequencer)
        made.wait(AFTER_S + age_s)
        await all_steps(await made.archiver())
    return made


async def _refill(world: ArchiveWorld, damage: Damage) -> tuple[Sequencer, Callable[[], None]]:
    """Wipe the topic beside a damaged segment; return who refills it, and what mends that."""
    name = world.segments()[0]
    body = world.archive.objects.pop(name)
    if (damaged := damage(body)) is not None:
        world.archive.objects[name] = damaged
    world.audit.broker.wipe(AUDIT)
    sequencer = await world.sequencer()
    await turns(sequencer)
    return sequencer, lambda: world.archive.objects.update({name: body})


@pytest.mark.parametrize("damage", [_cut, _gone])
async def test_what_comes_is_numbered_while_a_damaged_segment_keeps_the_topic_from_being_filled(
    world: ArchiveWorld, damage: Damage
) -> None:
    sequencer, _ = await _refill(world, damage)
    await world.write(3, sequencer)

    head = await world.reader.audit_head(STREAM)
    assert head.next_position == RECORDS + 3 + 1
    assert await world.reader.pending_audit(limit=10) == []
    assert world.published() == [], "a reader would meet a gap for ever"


@pytest.mark.parametrize("damage", [_cut, _gone])
async def test_a_sequencer_that_cannot_publish_says_so_in_its_health_and_metrics(
    world: ArchiveWorld, damage: Damage
) -> None:
    sequencer, mend = await _refill(world, damage)
    said = await ready_check([sequencer])()
    stuck = AUDIT_STUCK._value.get()
    mend()
    world.wait(LOOK_AGAIN_S)
    await turns(sequencer)

    assert said is not None
    assert "audit position 1 " in said
    assert "numbering goes on" in said
    assert (stuck, AUDIT_STUCK._value.get()) == (1, 0)
    assert await ready_check([sequencer])() is None


@pytest.mark.parametrize("damage", [_cut, _gone])
async def test_a_segment_that_is_mended_is_published_without_a_gap(
    world: ArchiveWorld, damage: Damage
) -> None:
    before = world.published()
    sequencer, mend = await _refill(world, damage)
    await world.write(3, sequencer)
    mend()
    world.wait(LOOK_AGAIN_S)
    await turns(sequencer)

    assert world.published()[:RECORDS] == before
    assert await world.audit.read_once() == list(range(1, RECORDS + 4))
    assert await world.audit.faults() == []


async def test_nothing_is_signed_behind_a_position_that_is_not_published(
    world: ArchiveWorld,
) -> None:
    signed = world.signed()
    sequencer, _ = await _refill(world, _cut)
    await world.write(3, sequencer)
    world.wait(1_000)
    await turns(sequencer)

    assert world.signed() == signed


async def test_a_damaged_segment_is_not_fetched_with_every_turn(
    world: ArchiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = list[str]()
    get = world.archive.get

    async def counted(name: str) -> bytes:
        fetched.append(name)
        return await get(name)

    monkeypatch.setattr(world.archive, "get", counted)
    sequencer, _ = await _refill(world, _cut)
    await turns(sequencer, count=20)

    assert fetched == world.segments()[:1]


async def test_a_damaged_block_of_the_database_stops_the_publishing_alone(
    world: ArchiveWorld,
) -> None:
    tables = world.audit.database.tables
    key, block = next(iter(tables.rows("audit_blocks").items()))
    tables.commit({("audit_blocks", key): replace(block, payload=block.payload[:-1])})
    world.audit.broker.wipe(AUDIT)
    sequencer = await world.sequencer()
    await turns(sequencer)
    await world.write(3, sequencer)

    published = [record.position for record in world.published()]
    assert published == list(range(1, block.first_position))
    assert sequencer.problem is not None
    assert (await world.reader.audit_head(STREAM)).next_position == RECORDS + 4


def _forged(body: bytes) -> bytes | None:
    """Another history under hashes and digests of its own, as who may write there would leave."""
    records, previous = list[NumberedRecord](), FIRST_HASH
    for one in decode_segment(body).records:
        payload = one.payload.replace(b'"open"', b'"opeN"')
        records.append(replace(one, payload=payload, previous_hash=previous))
        previous = records[-1].chain_hash
    return encode_segment(segment_of(STREAM, records))


async def test_a_segment_with_another_history_is_not_published(world: ArchiveWorld) -> None:
    """It is whole in itself; what follows it names another record."""
    before = world.published()
    sequencer, mend = await _refill(world, _forged)
    await world.write(3, sequencer)
    problem, published = sequencer.problem, world.published()
    mend()
    world.wait(LOOK_AGAIN_S)
    await turns(sequencer)

    assert published == []
    assert problem is not None
    assert "audit position 1 " in problem
    assert world.published()[:RECORDS] == before
    assert await world.audit.faults() == []


async def test_a_block_with_another_history_is_not_published(world: ArchiveWorld) -> None:
    """Also the newest, which the head vouches for."""
    before = world.published()
    tables = world.audit.database.tables
    for key, block in list(tables.rows("audit_blocks").items()):
        forged = [replace(r, payload=r.payload + b" ") for r in unpack_block(block)[-1:]]
        changed = block_of(STREAM, [*unpack_block(block)[:-1], *forged])
        tables.commit({("audit_blocks", key): changed})
        world.audit.broker.wipe(AUDIT)
        sequencer = await world.sequencer()
        await turns(sequencer)
        tables.commit({("audit_blocks", key): block})

        assert world.published() == before[: block.first_position - 1]
        assert sequencer.problem is not None


async def test_a_block_that_the_database_lacks_is_no_gap_in_the_topic(world: ArchiveWorld) -> None:
    """Between others that are read with it: what stands behind it waits, too."""
    sequencer = await world.sequencer()
    for _ in range(3):
        await world.write(2, sequencer)
    before = world.published()
    tables = world.audit.database.tables
    lost = list(tables.rows("audit_blocks").items())[-2]
    tables.commit({("audit_blocks", lost[0]): None})
    world.audit.broker.wipe(AUDIT)
    sequencer = await world.sequencer()
    await turns(sequencer)
    published = [record.position for record in world.published()]
    problem = sequencer.problem
    tables.commit({("audit_blocks", lost[0]): lost[1]})
    world.wait(LOOK_AGAIN_S)
    await turns(sequencer)

    assert published == list(range(1, lost[1].first_position))
    assert problem is not None
    assert f"position {lost[1].first_position} cannot be published" in problem
    assert world.published() == before


@pytest.mark.parametrize("damage", [_cut, _gone])
async def test_a_topic_that_ends_in_a_damaged_segment_is_no_other_fileflux(
    world: ArchiveWorld, damage: Damage
) -> None:
    """Its last record cannot be compared; that is no reason to number nothing."""
    before = world.published()
    world.audit.broker.lose_tail(AUDIT, 0, len(before) - 3)
    name = world.segments()[0]
    body = world.archive.objects.pop(name)
    if (damaged := damage(body)) is not None:
        world.archive.objects[name] = damaged
    sequencer = await world.sequencer()
    await world.write(3, sequencer)
    problem, published = sequencer.problem, world.published()
    world.archive.objects[name] = body
    world.wait(LOOK_AGAIN_S)
    await turns(sequencer)

    assert problem is not None
    assert published == before[:3]
    assert await world.audit.read_once() == list(range(1, RECORDS + 4))
    assert await world.audit.faults() == []


async def test_a_record_of_somebody_else_at_the_topic_s_end_stops_the_publishing_alone(
    world: ArchiveWorld,
) -> None:
    """Who may write to the topic shall not keep the store from numbering."""
    before = world.published()
    foreign = await world.audit.broker.safe_publisher()
    await foreign.publish(AUDIT, b"somebody's", partition=0)
    sequencer = await world.sequencer()
    await world.write(3, sequencer)
    problem = sequencer.problem
    world.audit.broker.wipe(AUDIT)
    world.wait(LOOK_AGAIN_S)
    await turns(sequencer)

    assert problem is not None
    assert "record of somebody else" in problem
    assert "numbering goes on" in problem
    assert world.published()[:RECORDS] == before
    assert len(world.published()) == RECORDS + 3
    assert sequencer.problem is None
