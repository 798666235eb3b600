"""Judges an epoch: what its clients saw, what is there now, what the audit stream says of it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from tests.fault.epoch import Epoch, Listing
from tests.model.history import Operation
from tests.model.linearizability import TooHard, is_linearizable

from fileflux.console.wiring import Metadata, Surroundings, open_broker, open_metadata
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_log import Records, read_database, read_topic, verify
from fileflux.metadata.audit_record import decode_record
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.sequencer import STREAM

NUMBERED_WITHIN_S: Final = 60.0
POLL_S: Final = 0.1
DELETION: Final = "DeleteObject"


@dataclass(slots=True)
class Judgement:
    """`undecided`: keys whose history was too hard to judge. `records`: of the whole stream."""

    problems: list[str]
    keys: int = 0
    undecided: int = 0
    records: int = 0


async def judge(epoch: Epoch, found: Surroundings, bucket: str) -> Judgement:
    """Everything that must hold after a fault. The clients have stopped and read all keys."""
    judged = Judgement(list(epoch.problems))
    epoch.settle_doubts()
    judge_keys(epoch, judged)
    for listing in epoch.listings:
        judged.problems += listing_problems(listing, epoch.history.by_key())
    async with open_metadata(found) as metadata:
        head = await _all_numbered(metadata)
        await _judge_audit(epoch, judged, metadata, head, bucket)
        await _judge_topic(judged, found, head)
    return judged


def judge_keys(epoch: Epoch, judged: Judgement) -> None:
    for key, operations in epoch.history.by_key().items():
        judged.keys += 1
        try:
            if not is_linearizable(operations):
                judged.problems.append(f"{key}: no order explains {_told(operations)}")
        except TooHard:
            judged.undecided += 1


def _told(operations: list[Operation]) -> str:
    return "\n    ".join(
        f"{one.called_s:.3f} to {one.returned_s or 0:.3f} {one.kind} {one.value[:6]} "
        f"expected={one.expected and one.expected[:6]} {one.outcome}"
        for one in operations
    )


def listing_problems(listing: Listing, by_key: dict[str, list[Operation]]) -> list[str]:
    """Complete, nothing that was deleted before, each once, in byte order."""
    problems = [] if listing.is_ordered else ["a listing is out of order, or has a key twice"]
    for key, operations in by_key.items():
        if key in listing.found:
            if _surely_absent(operations, listing):
                problems.append(f"{key} is listed and was deleted, or never written")
        elif _surely_present(operations, listing):
            problems.append(f"{key} is not listed")
    problems += [f"{key} is listed and unknown" for key in listing.found if key not in by_key]
    return problems


def _surely_present(operations: list[Operation], listing: Listing) -> bool:
    """A write was answered before, and no delete may have come after it."""
    written = [
        one
        for one in operations
        if one.kind == "write" and one.outcome == "ok" and _before(one, listing.called_s)
    ]
    return any(
        all(
            one.called_s > listing.returned_s or _before(one, last.called_s)
            for one in operations
            if one.kind == "delete" and one.outcome != "fail"
        )
        for last in written
    )


def _surely_absent(operations: list[Operation], listing: Listing) -> bool:
    """Every write that may have been was over before a delete that was answered."""
    writes = [
        one
        for one in operations
        if one.kind == "write" and one.outcome != "fail" and one.called_s <= listing.returned_s
    ]
    deleted = [
        one.called_s
        for one in operations
        if one.kind == "delete" and one.outcome == "ok" and _before(one, listing.called_s)
    ]
    last_s = max(deleted, default=-1.0)
    return all(_before(one, last_s) for one in writes)


def _before(one: Operation, at_s: float) -> bool:
    return one.returned_s is not None and one.returned_s < at_s


async def _all_numbered(metadata: Metadata) -> SequencerHead:
    """Nothing waits for a number: return where the stream stands."""
    deadline_s = time.monotonic() + NUMBERED_WITHIN_S
    while await metadata.reader.pending_audit(limit=1):
        assert time.monotonic() < deadline_s, "records wait for their number and nobody comes"
        await asyncio.sleep(POLL_S)
    return await metadata.reader.audit_head(STREAM)


async def _judge_audit(
    epoch: Epoch, judged: Judgement, metadata: Metadata, head: SequencerHead, bucket: str
) -> None:
    """The chain is whole, and every acknowledged change of this epoch has exactly one record."""
    stored: Counter[tuple[str, str]] = Counter()
    records = _until(head, read_database(metadata.reader))
    result = await verify(_counted(records, stored, f"{epoch.name}/", bucket), head=head)
    judged.records = result.record_count
    judged.problems += [f"audit in the database: {fault}" for fault in result.faults]
    judged.problems += audit_problems(epoch, stored)


async def _counted(
    records: Records, stored: Counter[tuple[str, str]], prefix: str, bucket: str
) -> Records:
    """Pass all on, and count (key, ETag) of the changes of one epoch's objects."""
    wanted = prefix.encode()
    async for numbered in records:
        if wanted in numbered.payload:
            record = decode_record(numbered.payload)
            key = (record.key or b"").decode()
            if record.bucket == bucket and record.facts.get("outcome") == "ok":
                if record.operation == DELETION:
                    stored[key, DELETION] += 1
                elif record.facts.get("version"):
                    stored[key, str(record.facts.get("etag"))] += 1
        yield numbered


def audit_problems(epoch: Epoch, stored: Counter[tuple[str, str]]) -> list[str]:
    """A failed change has no record, one that was answered has one, an unknown one at most one."""
    labels: Counter[tuple[str, str]] = Counter()
    for (key, etag), count in stored.items():
        labels[key, DELETION if etag == DELETION else epoch.etags.get(etag, etag)] += count
    least: Counter[tuple[str, str]] = Counter()
    most: Counter[tuple[str, str]] = Counter()
    for one in epoch.history.operations:
        if one.kind == "read" or one.outcome == "fail":
            continue
        what = (one.key, one.value if one.kind == "write" else DELETION)
        most[what] += 1
        # Deleting what is not there changes nothing and leaves no record.
        least[what] += one.outcome == "ok" and one.kind == "write"
    return [
        f"{key}: {labels[key, what]} audit records of {what[:12]}, "
        f"{least[key, what]} to {most[key, what]} expected"
        for key, what in labels.keys() | most.keys()
        if not least[key, what] <= labels[key, what] <= most[key, what]
    ]


async def _judge_topic(judged: Judgement, found: Surroundings, head: SequencerHead) -> None:
    """The topic holds the same stream. It may be a moment behind: then it is read again."""
    deadline_s = time.monotonic() + NUMBERED_WITHIN_S
    async with open_broker(found) as broker:
        while True:
            source = await broker.source([(AUDIT, 0)])
            result = await verify(_until(head, read_topic(source)), head=head)
            await source.close()
            if not result.faults or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(1.0)
    judged.problems += [f"audit topic: {fault}" for fault in result.faults[:5]]


async def _until(head: SequencerHead, records: Records) -> Records:
    async for record in records:
        if record.position < head.next_position:
            yield record
