"""What is numbered and not published yet is no fault of the topic; all else that it lacks is."""

from dataclasses import replace

import pytest
from tests.model.audit_world import Audit, open_audit, turns

from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_log import Verification
from fileflux.metadata.audit_topic import verify_topic
from fileflux.metadata.sequencer import STREAM

WAIT_S = 1.0


@pytest.fixture
async def audit() -> Audit:
    made = await open_audit()
    await made.write(5)
    await turns(await made.sequencer())
    return made


async def _verify(audit: Audit) -> Verification:
    reader = audit.world.reader
    head = await reader.audit_head(STREAM)
    source = await audit.broker.source([(AUDIT, 0)])
    return await verify_topic(reader, source, head=head, clock=audit.clock, wait_s=WAIT_S)


def _change(audit: Audit, index: int) -> None:
    records = audit.broker.log(AUDIT, 0).records
    value = records[index].value.replace(b"root", b"rook").replace(b"user", b"uses")
    records[index] = replace(records[index], value=value)


async def test_a_whole_topic_is_whole(audit: Audit) -> None:
    found = await _verify(audit)

    assert (found.faults, found.record_count, found.unpublished) == ((), 7, 0)


async def test_what_is_not_published_yet_is_counted_and_no_fault(audit: Audit) -> None:
    """The head moves in the database first; the broker may be away for hours."""
    one = await audit.sequencer()
    await audit.write(3)
    await one.turn()
    audit.broker.lose_tail(AUDIT, 0, 3)

    found = await _verify(audit)

    assert found.faults == ()
    assert found.unpublished == 3


async def test_what_is_published_meanwhile_is_waited_for(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = audit.broker.records(AUDIT)[-2:]
    audit.broker.lose_tail(AUDIT, 0, 2)
    sleep = audit.clock.sleep

    async def publish(seconds: float) -> None:
        audit.broker.log(AUDIT, 0).records.extend(lost)
        lost.clear()
        await sleep(seconds)

    monkeypatch.setattr(audit.clock, "sleep", publish)
    found = await _verify(audit)

    assert (found.faults, found.unpublished) == ((), 0)


async def test_nothing_published_at_all_is_no_fault(audit: Audit) -> None:
    audit.broker.wipe(AUDIT)

    found = await _verify(audit)

    assert (found.faults, found.record_count, found.unpublished) == ((), 0, 7)


async def test_a_topic_that_lacks_its_start_is_broken(audit: Audit) -> None:
    await audit.broker.drop_records(AUDIT, 0, 3)

    assert [(f.position, f.kind) for f in (await _verify(audit)).faults] == [(1, "missing")]


@pytest.mark.parametrize("unpublished", [0, 2])
async def test_a_change_of_the_last_record_is_seen_wherever_the_topic_ends(
    audit: Audit, unpublished: int
) -> None:
    """No record behind it names its hash: only the database does."""
    audit.broker.lose_tail(AUDIT, 0, unpublished)
    _change(audit, -1)

    faults = (await _verify(audit)).faults

    assert [(f.position, f.kind) for f in faults] == [(7 - unpublished, "changed")]


async def test_a_database_that_lost_its_end_is_said(audit: Audit) -> None:
    head = await audit.world.reader.audit_head(STREAM)
    other = await open_audit()
    source = await audit.broker.source([(AUDIT, 0)])

    found = await verify_topic(
        other.world.reader, source, head=head, clock=audit.clock, wait_s=WAIT_S
    )

    assert [(f.position, f.kind) for f in found.faults] == [(7, "missing")]
