"""Requests, flushes and what they lead to, as one trace; and what never gets into one."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id
from tests.model import recorded_spans
from tests.model.recorded_spans import SPAN, TRACE, RecordedSpans, recording
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, S3World, open_s3_world

from fileflux.core.changes import Actor
from fileflux.core.ids import UserId
from fileflux.core.tracing import current, tracer
from fileflux.events.topics import (
    BUNDLES_ASSIGNED,
    BUNDLES_COMMITTED,
    UPLOADS_COMPLETED,
    UPLOADS_SEALED,
)
from fileflux.ingest.flush_traces import flush_span
from fileflux.metadata.audit_log import PENDING_MAX
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.rows import AuditRecord

SAMPLED = {"traceparent": recorded_spans.SAMPLED}
UNSAMPLED = {"traceparent": recorded_spans.UNSAMPLED}


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recording() as recorded:
        yield recorded


@pytest.fixture
async def traced(spans: RecordedSpans) -> AsyncIterator[Caller]:
    """Alice, at an endpoint that records traces; she has the bucket `photos`."""
    async with open_s3_world() as world:
        alice = WorldCaller(world)
        assert (await alice("PUT", "/photos", UNSAMPLED)).status == 200
        spans.clear()
        yield alice


class WorldCaller(Caller):
    """Alice and her world."""

    def __init__(self, world: S3World) -> None:
        super().__init__(world.app, ALICE)
        self.world = world

    async def record_of(self, key: bytes) -> AuditRecord:
        pending = await self.world.reader.pending_audit(limit=PENDING_MAX)
        records = [decode_record(r.payload) for *_, b in pending for r in unpack_pending(b)]
        return next(record for record in reversed(records) if record.key == key)


async def settled(spans: RecordedSpans, trace_id: str, names: set[str]) -> list[ReadableSpan]:
    """Return the trace once it has one of each name: nodes answer after the client has its 200."""
    deadline_s = time.monotonic() + 20
    while lacking := names - {span.name for span in spans.of_trace(trace_id)}:
        assert time.monotonic() < deadline_s, f"no span {lacking}"
        await asyncio.sleep(0.01)
    return spans.of_trace(trace_id)


PIPELINE = {
    "PutObject", f"send {BUNDLES_ASSIGNED}", f"process {BUNDLES_ASSIGNED}", "pull bundle",
    "append and sync", f"send {BUNDLES_COMMITTED}", f"send {UPLOADS_SEALED}", "commit seals",
    f"send {UPLOADS_COMPLETED}", f"process {UPLOADS_COMPLETED}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("size", "name"), [(1_000, "flush bundle"), (2 << 20, "write large upload")]
)
async def test_a_put_is_one_connected_trace_through_the_whole_pipeline(
    traced: WorldCaller, spans: RecordedSpans, size: int, name: str
) -> None:
    assert (await traced("PUT", "/photos/a", SAMPLED, bytes(size))).status == 200

    found = await settled(spans, TRACE, PIPELINE | {name})
    ids = {format_span_id(span.context.span_id) for span in found} | {SPAN}
    assert all(span.parent and format_span_id(span.parent.span_id) in ids for span in found)
    assert (await traced.record_of(b"a")).actor["trace_id"] == TRACE


async def test_uploads_that_share_a_bundle_are_linked_both_ways(
    traced: WorldCaller, spans: RecordedSpans
) -> None:
    traces = [f"{n:032x}" for n in range(1, 21)]
    headers = [{"traceparent": f"00-{trace}-{SPAN}-01"} for trace in traces]
    puts = [traced("PUT", f"/photos/{n}", one, b"x") for n, one in enumerate(headers)]
    assert {answer.status for answer in await asyncio.gather(*puts)} == {200}

    every = spans.all()
    flushes = {span.context.span_id: span for span in every if span.name == "flush bundle"}
    shared = [span for span in every if span.name == "share bundle"]
    assert len(flushes) + len(shared) == len(traces)
    assert shared, "twenty at once share"
    requests = {span.context.span_id for span in every if span.name == "PutObject"}
    for span in shared:
        (link,) = span.links
        flush = flushes[link.context.span_id]
        assert span.parent is not None
        assert span.parent.span_id in {one.context.span_id for one in flush.links} & requests


def test_in_a_shared_flush_the_current_span_is_the_flush_and_not_somebody_elses() -> None:
    actors = [
        Actor(UserId(bytes(16)), "alice", "", traceparent=f"00-{n:032x}-{SPAN}-01")
        for n in (1, 2, 3)
    ]
    with recording() as spans:
        with flush_span(tracer(), actors) as span:
            assert span
            assert current() == span.context
        assert current() is None
        assert len(spans.named("share bundle")) == 2


async def test_a_client_that_does_not_sample_leaves_no_span_and_its_id_in_the_record(
    traced: WorldCaller, spans: RecordedSpans
) -> None:
    assert (await traced("PUT", "/photos/a", UNSAMPLED, b"x")).status == 200

    assert spans.all() == []
    actor = (await traced.record_of(b"a")).actor
    assert (actor["trace_id"], actor["traceparent"][-2:]) == (TRACE, "00")


@pytest.mark.parametrize(
    "text", ["", "x" * 5_000, f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-01'; DROP TABLE"]
)
async def test_a_hostile_header_is_ignored_and_the_request_is_served(
    traced: WorldCaller, spans: RecordedSpans, text: str
) -> None:
    assert (await traced("PUT", "/photos/a", {"traceparent": text}, b"x")).status == 200

    actor = (await traced.record_of(b"a")).actor
    assert spans.of_trace() == []
    assert len(spans.of_trace(actor["trace_id"])) > 1


async def test_no_span_names_a_key_a_token_or_a_signature(
    traced: WorldCaller, spans: RecordedSpans
) -> None:
    await traced("PUT", "/photos/confidential-name", SAMPLED, b"content-of-it")
    await traced.presigned("GET", "/photos/confidential-name?x-token=open-sesame", SAMPLED)
    await traced("GET", "/photos/no-such-confidential-name", SAMPLED)
    await settled(spans, TRACE, {"GetObject", "PutObject"})

    told = " ".join(span.to_json() for span in spans.all())
    for secret in ("confidential", "open-sesame", "Signature", "content-of-it", ALICE.access_key):
        assert secret not in told
    assert '"aws.s3.bucket": "photos"' in told
    assert '"error.type": "NoSuchKey"' in told


async def test_where_nothing_is_recorded_the_clients_trace_is_in_the_record() -> None:
    async with open_s3_world() as world:
        alice = WorldCaller(world)
        await alice("PUT", "/photos")
        assert (await alice("PUT", "/photos/a", SAMPLED, b"x")).status == 200
        assert (await alice("PUT", "/photos/b", {}, b"x")).status == 200

        actor = (await alice.record_of(b"a")).actor
        assert (actor["trace_id"], actor["traceparent"]) == (TRACE, SAMPLED["traceparent"])
        assert (await alice.record_of(b"b")).actor["trace_id"] == ""


async def test_a_delete_is_traced_to_its_transaction(
    traced: WorldCaller, spans: RecordedSpans
) -> None:
    assert (await traced("DELETE", "/photos/nothing", SAMPLED)).status == 204

    assert {span.name for span in spans.of_trace()} == {"DeleteObject", "commit changes"}
