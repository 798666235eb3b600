"""The in-memory twin fails like the real database, when it is told to and by its seed."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.model.change_storm import Storm
from tests.model.metadata_changes import AT_US, Maker

from fileflux.core.changes import Change, Outcome
from fileflux.core.clock import ManualClock
from fileflux.core.errors import MetadataBusy, SettlementUnknown
from fileflux.core.ids import SealId
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.memory import MemoryDatabase, MemoryFaults
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.memory_tables import MemoryTables, MemoryView, SerializationFailure
from fileflux.metadata.ports import Transaction
from fileflux.metadata.rows import Settlement


def make_database(seed: int = 0, **faults: float) -> MemoryDatabase:
    return MemoryDatabase(
        ManualClock(),
        faults=MemoryFaults(rng=random.Random(seed), **faults),  # type: ignore[arg-type]
    )


async def store(transaction: Transaction, seal_id: SealId) -> str:
    row = Settlement(seal_id=seal_id, outcomes=(), aborted=False, settled_us=AT_US)
    await transaction.store_settlements([row])
    return "stored"


async def test_a_transaction_that_never_commits_is_busy_at_its_deadline() -> None:
    database = make_database(serialization_failures=1.0)
    start_s = database.clock.monotonic_s()

    with pytest.raises(MetadataBusy):
        await database.run(lambda transaction: transaction.clock_us(), deadline_s=3.0)
    assert 3.0 <= database.clock.monotonic_s() - start_s < 4.0
    assert database.attempts > 5


async def test_a_database_that_is_down_answers_nobody_and_keeps_what_it_had() -> None:
    database, seal_id = make_database(), SealId(b"s" * 16)
    reader = MemoryReader(database)
    await database.run(lambda transaction: store(transaction, seal_id))
    database.faults.is_down = True
    with pytest.raises(MetadataBusy):
        await database.run(lambda transaction: transaction.clock_us(), deadline_s=0.1)
    with pytest.raises(MetadataBusy):
        await reader.clock_us()
    database.faults.is_down = False

    assert (await reader.seal_states({seal_id: []}))[seal_id].settlement is not None


async def test_an_ambiguous_commit_is_answered_by_whoever_can_ask() -> None:
    """Applied or not, the seal is settled once and everybody is told the same."""
    told = set()
    for seed in range(40):
        database, seal_id = make_database(seed, ambiguous_commits=1.0), SealId(b"s" * 16)
        reader = MemoryReader(database)

        async def settled(
            reader: MemoryReader = reader,
            database: MemoryDatabase = database,
            seal_id: SealId = seal_id,
        ) -> str | None:
            database.faults.ambiguous_commits = 0.0
            state = (await reader.seal_states({seal_id: []}))[seal_id]
            return "settled" if state.settlement is not None else None

        told.add(
            await database.run(lambda t, s=seal_id: store(t, s), settled=settled)  # type: ignore[misc]
        )
        assert (await reader.seal_states({seal_id: []}))[seal_id].settlement is not None
    assert told == {"stored", "settled"}


async def test_an_ambiguous_commit_that_nobody_can_ask_about_is_unknown() -> None:
    database = make_database(ambiguous_commits=1.0)
    reader = MemoryReader(database)
    with pytest.raises(SettlementUnknown):
        await database.run(lambda transaction: store(transaction, SealId(b"a" * 16)))

    async def settled() -> str | None:
        database.faults.is_down = True
        await reader.clock_us()
        return None

    with pytest.raises(SettlementUnknown):
        await database.run(
            lambda transaction: store(transaction, SealId(b"b" * 16)),
            settled=settled,
            deadline_s=0.2,
        )


READS: dict[str, Callable[[MemoryView], object]] = {
    "key": lambda view: view.get("t", (1, 2)),
    "prefix": lambda view: view.begins_with("t", 1),
    "range": lambda view: view.where("t", lambda _, row: row == "x"),
}


def write_meanwhile(tables: MemoryTables) -> None:
    theirs = tables.open()
    theirs.put("t", (1, 2), "x")
    theirs.commit()
    theirs.close()


@pytest.mark.parametrize("kind", READS)
def test_whoever_reads_what_somebody_wrote_since_must_run_again(kind: str) -> None:
    tables = MemoryTables()
    mine = tables.open()
    write_meanwhile(tables)

    with pytest.raises(SerializationFailure):
        READS[kind](mine)


@pytest.mark.parametrize("kind", READS)
def test_whoever_read_what_somebody_writes_before_the_commit_must_run_again(kind: str) -> None:
    tables = MemoryTables()
    mine = tables.open()
    READS[kind](mine)
    mine.put("t", (9,), "mine")
    write_meanwhile(tables)

    with pytest.raises(SerializationFailure):
        mine.commit()


def test_who_reads_something_else_or_writes_nothing_goes_on() -> None:
    tables = MemoryTables()
    other, reader, theirs = tables.open(), tables.open(), tables.open()
    other.get("t", (2, 2))
    other.begins_with("t", 2)
    other.where("t", lambda _, row: row == "y")
    reader.get("t", (1, 2))
    theirs.put("t", (1, 2), "x")
    theirs.commit()
    other.put("t", (2, 3), "z")

    other.commit()
    reader.commit()
    assert tables.rows("t") == {(1, 2): "x", (2, 3): "z"}


def test_a_view_sees_its_own_writes() -> None:
    tables = MemoryTables()
    view = tables.open()
    view.put("t", (1, 1), "a")
    view.put("t", (1, 2), "b")
    view.remove("t", (1, 1))

    assert view.get("t", (1, 1)) is None
    assert view.begins_with("t", 1) == [((1, 2), "b")]
    assert view.where("t", lambda _, row: True) == [((1, 2), "b")]
    assert tables.rows("t") == {}


def test_commits_are_forgotten_when_nobody_can_conflict_with_them() -> None:
    tables = MemoryTables()
    for number in range(100):
        view = tables.open()
        view.put("t", (number,), number)
        view.commit()
        view.close()

    assert tables.since(0) == []


async def deliver(
    database: MemoryDatabase, seal_id: SealId, changes: Sequence[Change]
) -> tuple[Outcome, ...]:
    """Do what a materializer does with a seal: look its settlement up first, settle it once."""
    reader = MemoryReader(database)

    async def work(transaction: Transaction) -> tuple[Outcome, ...]:
        found = await transaction.load_settlements([seal_id])
        if seal_id in found:
            return found[seal_id].outcomes
        rows = await transaction.load_rows(footprint(changes))
        writes, outcomes = apply(rows, changes)
        await transaction.store_writes(writes)
        row = Settlement(seal_id=seal_id, outcomes=outcomes, aborted=False, settled_us=AT_US)
        await transaction.store_settlements([row])
        return outcomes

    async def settled() -> tuple[Outcome, ...] | None:
        state = (await reader.seal_states({seal_id: []}))[seal_id]
        return state.settlement.outcomes if state.settlement else None

    return await database.run(work, settled=settled, deadline_s=600.0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
async def test_seals_delivered_again_through_a_failing_database_have_one_effect(seed: int) -> None:
    """I6: 40001 at a fifth of all statements, ambiguous commits, every seal up to three times."""
    rng = random.Random(seed)
    storm, maker = Storm(rng), Maker(seed)
    seals: list[tuple[SealId, list[Change]]] = [(SealId(maker.id()), [storm.maker.user()])]
    statuses = [["ok"]]
    for _ in range(20):
        drawn = [storm.change() for _ in range(rng.randrange(1, 4))]
        seals.append((SealId(maker.id()), [change for change, _ in drawn]))
        statuses.append([status for _, status in drawn])
    shaky = make_database(seed, serialization_failures=0.2, ambiguous_commits=0.3)
    calm = make_database(seed)
    done: dict[SealId, tuple[Outcome, ...]] = {}
    for seal, wanted in zip(seals, statuses, strict=True):
        first = await deliver(shaky, *seal)
        assert [outcome.status for outcome in first] == wanted
        done[seal[0]] = first
        await deliver(calm, *seal)
        for again in rng.choices(seals[: len(done)], k=rng.randrange(3)):
            assert await deliver(shaky, *again) == done[again[0]]
    event(f"attempts per seal: {shaky.attempts // len(seals)}")

    assert visible(shaky) == visible(calm)
    assert await records(shaky) == await records(calm)


def visible(database: MemoryDatabase) -> object:
    objects = {place: row.version_id for place, row in database.tables.rows("objects").items()}
    return objects, dict(database.tables.rows("garbage"))


async def records(database: MemoryDatabase) -> int:
    return len(await MemoryReader(database).pending_audit(limit=1_000))
