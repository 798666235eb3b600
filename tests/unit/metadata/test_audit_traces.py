"""An audit record names its request's trace; only what is published for the first time is in it."""

from dataclasses import replace
from typing import Any, Final

import pytest
from tests.model.audit_world import Audit, open_audit, turns
from tests.model.recorded_spans import SAMPLED, SPAN, TRACE, recording, traceparent_of

from fileflux.events.topics import AUDIT
from fileflux.metadata import audit_find
from fileflux.metadata.audit_find import newest_trace, trace_at
from fileflux.metadata.ports import AuditBlock, MetadataReader

SEND: Final = f"send {AUDIT}"


async def write_traced(audit: Audit, request_id: str = "0A1B") -> None:
    change = audit.world.maker.create_multipart(audit.world.bucket, b"traced")
    actor = replace(change.actor, trace_id=TRACE, traceparent=SAMPLED, request_id=request_id)
    assert (await audit.writer.submit(replace(change, actor=actor))).ok


async def test_a_record_is_sent_in_its_requests_trace_and_says_so() -> None:
    with recording() as spans:
        audit = await open_audit()
        one = await audit.sequencer()
        await audit.write(1)
        await write_traced(audit)
        await turns(one)

        (sent,) = spans.named(SEND)
        *_, last = audit.broker.records(AUDIT)
        headers = dict(last.headers)
        assert headers["ce_traceparent"] == SAMPLED.encode()
        assert headers["traceparent"] == traceparent_of(sent).encode()
        assert sent.parent is not None
        assert sent.parent.span_id == int(SPAN, 16)
        others = [record for record in audit.broker.records(AUDIT) if record != last]
        assert [one for one in others if "traceparent" in dict(one.headers)] == []


async def test_what_is_published_again_is_no_part_of_a_trace_that_is_long_over() -> None:
    with recording() as spans:
        audit = await open_audit()
        one = await audit.sequencer()
        await write_traced(audit)
        await turns(one)
        spans.clear()
        audit.broker.wipe(AUDIT)
        audit.clock.advance(6)
        await turns(one)

        *_, last = audit.broker.records(AUDIT)
        assert "ce_traceparent" in dict(last.headers)
        assert "traceparent" not in dict(last.headers)
        assert spans.named(SEND) == []


async def test_without_a_tracer_the_record_still_names_its_clients_trace() -> None:
    audit = await open_audit()
    one = await audit.sequencer()
    await write_traced(audit)
    await turns(one)

    *_, last = audit.broker.records(AUDIT)
    assert dict(last.headers)["ce_traceparent"] == SAMPLED.encode()
    assert "traceparent" not in dict(last.headers)
    assert await audit.faults() == []


async def test_a_change_is_found_by_its_position() -> None:
    audit = await open_audit()
    await audit.write(3)
    await turns(await audit.sequencer())
    last = audit.published()[-1]

    found = await trace_at(audit.world.reader, last.position)
    assert found is not None
    assert found.numbered == last
    assert await trace_at(audit.world.reader, last.position + 1) is None
    assert await trace_at(audit.world.reader, 0) is None


@pytest.mark.parametrize("step", [1, 2, 1_000])
async def test_a_change_is_found_by_its_request_numbered_or_not(
    monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(audit_find, "STEP", step)
    audit = await open_audit()
    one = await audit.sequencer()
    await turns(one)
    await write_traced(audit, "0A1B")
    waiting = await newest_trace(audit.world.reader, "request_id", "0A1B")
    await turns(one)
    await audit.write(4)
    await turns(one)
    numbered = await newest_trace(audit.world.reader, "request_id", "0A1B")

    assert waiting is not None
    assert waiting.position == 0
    assert numbered is not None
    assert numbered.position == 3
    assert numbered.record == waiting.record
    assert await newest_trace(audit.world.reader, "trace_id", TRACE) == numbered
    assert await newest_trace(audit.world.reader, "request_id", "0A1") is None


@pytest.mark.parametrize(("step", "writes"), [(2, 3), (2, 8), (100, 1)])
async def test_a_search_reads_each_block_once_however_many_records_it_has(
    monkeypatch: pytest.MonkeyPatch, step: int, writes: int
) -> None:
    """A block may have megabytes: a busy store's search would read them ten times."""
    monkeypatch.setattr(audit_find, "STEP", step)
    audit = await open_audit()
    one = await audit.sequencer()
    for _ in range(12):
        await audit.write(writes)
        await turns(one)
    reader = CountingReader(audit.world.reader)

    assert await newest_trace(reader, "request_id", "nobody's") is None
    assert sorted(set(reader.read)) == sorted(reader.read)
    assert len(reader.read) == 12


class CountingReader:
    """A reader that notes the first position of each block it gave."""

    def __init__(self, inner: MetadataReader) -> None:
        self._inner = inner
        self.read: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def audit_blocks(self, stream: str, position: int, *, limit: int) -> list[AuditBlock]:
        blocks = await self._inner.audit_blocks(stream, position, limit=limit)
        self.read += [block.first_position for block in blocks]
        return blocks


async def test_a_request_is_looked_for_no_further_back_than_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit_find, "SEARCHED_MAX", 4)
    audit = await open_audit()
    one = await audit.sequencer()
    await write_traced(audit, "0A1B")
    await turns(one)
    await audit.write(1)
    await turns(one)
    assert await newest_trace(audit.world.reader, "request_id", "0A1B") is not None
    await audit.write(4)
    await turns(one)
    assert await newest_trace(audit.world.reader, "request_id", "0A1B") is None


async def test_metadata_that_looks_like_a_request_does_not_hide_it() -> None:
    audit = await open_audit()
    one = await audit.sequencer()
    await write_traced(audit, "0A1B")
    await turns(one)
    change = audit.world.maker.create_multipart(audit.world.bucket, b"looks-like-it")
    meta = replace(change.meta, user={"request_id": "0A1B"})
    assert (await audit.writer.submit(replace(change, meta=meta))).ok
    for _ in range(2):  # Waiting for its number, then numbered.
        found = await newest_trace(audit.world.reader, "request_id", "0A1B")
        assert found is not None
        assert found.record.key == b"traced"
        await turns(one)
    assert b'"request_id":"0A1B"' in audit.published()[-1].payload
