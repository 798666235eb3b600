"""Restores one at a time: what comes back, what stays, what is said of the rest."""

import random
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from tests.model.metadata_changes import ACTOR, Maker
from tests.model.rebuild_world import GivenRecords, number, write
from tests.model.restore_world import RestoreWorld, garbage, living, picture

from fileflux.core.changes import (
    Change,
    ConfigureBucket,
    CreateBucket,
    CreateHold,
    DeleteUser,
    Outcome,
)
from fileflux.core.ids import UserId
from fileflux.core.model import Manifest
from fileflux.metadata.audit_record import decode_record, event_type
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.content_back import BYTES_GONE
from fileflux.metadata.hold_rules import GRACE_US, kept_until_us
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.notification import ENTRY, Notification, from_config, to_entry
from fileflux.metadata.rebuild import StreamBroken, Until
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.restore import Restore, Wanted
from fileflux.metadata.restore_bucket import RestoreRefused
from fileflux.metadata.restore_history import BucketHistory
from fileflux.metadata.rows import HoldRow
from fileflux.metadata.sequencer import STREAM
from fileflux.webhooks.occurrence import occurrence_of

DAY_US = 24 * 3600 * 1_000_000


class Photos(RestoreWorld):
    """A bucket with the keys `x/a`, `x/b` and `y`; `then`: the position behind them."""

    def __init__(self) -> None:
        super().__init__(MemoryDatabase())
        self.maker = Maker(5)
        self.bucket: CreateBucket = self.maker.bucket()
        self.then = 0

    async def do(self, *changes: Change) -> None:
        await write(self.database, *changes)
        await number(self.database, self.reader)

    async def put(self, *keys: bytes) -> None:
        await self.do(*(self.maker.put(self.bucket, key) for key in keys))

    async def delete(self, *keys: bytes) -> None:
        await self.do(*(self.maker.delete(self.bucket, key) for key in keys))

    async def back(self, **wanted: Any) -> Any:
        return await self.restore("photos", self.then, **wanted)


async def photos() -> Photos:
    world = Photos()
    await world.do(world.maker.user(), world.bucket)
    await world.put(b"x/a", b"x/b", b"y")
    world.then = len(await world.records())
    return world


async def test_only_keys_under_the_prefix_come_back_and_newer_ones_stay() -> None:
    world = await photos()
    before = picture(world.database, "photos")
    await world.delete(b"x/a", b"y")
    await world.put(b"x/new", b"x/b")

    done = await world.back(prefix=b"x/")
    assert world.kinds() == {b"x/a": "create", b"x/b": "replace", b"x/new": "kept"}
    assert done.counts == {"create": 1, "replace": 1, "kept": 1}
    now = picture(world.database, "photos") or {}
    assert sorted(now) == [b"x/a", b"x/b", b"x/new"]
    assert [now[key] for key in (b"x/a", b"x/b")] == [before[k] for k in (b"x/a", b"x/b")]  # type: ignore[index]


async def test_every_key_is_an_audited_change_that_says_what_it_restores() -> None:
    world = await photos()
    old = world.database.tables.get("objects", (world.bucket.bucket_id, b"y")).version_id
    await world.put(b"y", b"z")
    count = len(await world.records())
    await world.back(deletes_newer=True)

    records = (await world.records())[count:]
    told = [decode_record(record.payload) for record in records]
    assert [one.operation for one in told] == [
        *("CreateHold", "RestoreVersion", "DeleteObject", "ReleaseHold")
    ]
    assert [event_type(one) for one in told][1:3] == [
        *("fileflux.object.restored", "fileflux.object.deleted")
    ]
    assert told[1].facts["restored"] == {"version": old.hex(), "position": world.then}
    assert told[2].facts["restored"] == {"position": world.then}
    assert told[1].facts["version"] == told[1].record_id.hex() != old.hex()
    heard = occurrence_of(records[1])
    assert heard is not None
    assert (heard.name, heard.key) == ("s3:ObjectCreated:Copy", b"y")


async def test_what_a_compactor_has_claimed_is_impossible_and_said_so() -> None:
    world = await photos()
    gone = world.database.tables.get("objects", (world.bucket.bucket_id, b"x/a")).manifest
    await world.delete(b"x/a", b"x/b", b"y")
    names = [n for n in world.database.tables.rows("garbage") if n[0] == gone.chunks[0].bundle_id]
    world.database.tables.commit({("garbage", name): None for name in names})

    for dry_run in (True, False):
        done = await world.back(dry_run=dry_run)
        assert (done.counts["create"], done.counts["impossible"]) == (2, 1)
        assert (world.fate(b"x/a").kind, world.fate(b"x/a").reason) == ("impossible", BYTES_GONE)
    assert sorted(picture(world.database, "photos") or {}) == [b"x/b", b"y"]


async def test_two_that_shared_their_content_share_it_again() -> None:
    """And whoever of them goes last drops it."""
    world = await photos()
    source = world.database.tables.get("objects", (world.bucket.bucket_id, b"y"))
    await world.do(world.maker.copy(world.bucket, b"copy", source))
    world.then = len(await world.records())
    await world.delete(b"y", b"copy")
    await world.back()
    assert not garbage(world.database) & living(world.database)

    await world.delete(b"y")
    chunk = (source.manifest.chunks[0].bundle_id, source.manifest.chunks[0].number)
    assert chunk not in garbage(world.database)
    await world.delete(b"copy")
    assert chunk in garbage(world.database)


async def test_copies_of_copies_come_back_with_what_they_were_copied_from() -> None:
    """`outer` copied a part of `inner`, which copied one of `y`: all three were dropped."""
    world = await photos()
    chunks = {}
    for source, name in ((b"y", b"inner"), (b"inner", b"outer")):
        row = world.database.tables.get("objects", (world.bucket.bucket_id, source))
        upload = world.maker.create_multipart(world.bucket, name)
        slices = Manifest(tuple((picture(world.database, "photos") or {})[source][-1]))
        copied = world.maker.copy_part(upload, 1, row, slices, size=6 << 20)
        own = world.maker.part(upload, 2)
        await world.do(upload, copied, own, world.maker.complete(upload, [copied, own]))
        chunks[name] = {(c.bundle_id, c.number) for c in own.manifest.chunks}
    chunks[b"y"] = {(c.bundle_id, c.number) for c in slices.chunks} - chunks[b"inner"]
    before = picture(world.database, "photos")
    world.then = len(await world.records())
    await world.delete(b"y", b"inner", b"outer")
    assert set.union(*chunks.values()) <= garbage(world.database)

    await world.back(prefix=b"outer")
    assert world.kinds() == {b"outer": "create"}
    assert not set.union(*chunks.values()) & garbage(world.database)
    await world.back()
    assert picture(world.database, "photos") == before
    await world.delete(b"y", b"inner")
    assert not set.union(*chunks.values()) & garbage(world.database), "outer still needs them"
    await world.delete(b"outer")
    assert set.union(*chunks.values()) <= garbage(world.database)


async def test_copies_come_back_over_four_levels_if_what_is_deeper_is_there() -> None:
    """A plan does not read what lies deeper, and need not: nothing of it was dropped."""
    world = await photos()
    names = [b"y", b"1", b"2", b"3", b"4"]
    for source, name in pairwise(names):
        row = world.database.tables.get("objects", (world.bucket.bucket_id, source))
        upload = world.maker.create_multipart(world.bucket, name)
        slices = Manifest(tuple((picture(world.database, "photos") or {})[source][-1]))
        copied = world.maker.copy_part(upload, 1, row, slices, size=6 << 20)
        await world.do(upload, copied, world.maker.complete(upload, [copied]))
    await world.delete(b"1", b"2", b"3")
    before = picture(world.database, "photos")
    world.then = len(await world.records())
    await world.delete(b"4")
    assert sorted(picture(world.database, "photos") or {}) == [b"x/a", b"x/b", b"y"]

    await world.back()
    assert world.kinds() == {b"4": "create"}
    assert picture(world.database, "photos") == before


async def test_a_deleted_bucket_is_made_again_with_its_owner_class_and_configuration() -> None:
    world = await photos()
    before = picture(world.database, "photos")
    await world.delete(b"x/a", b"x/b", b"y")
    await world.do(world.maker.delete_bucket(world.bucket))
    dry = await world.back(dry_run=True)
    assert picture(world.database, "photos") is None
    done = await world.back()

    assert dry.makes_bucket
    assert done.makes_bucket
    assert dry.counts == done.counts == {"create": 3}
    assert picture(world.database, "photos") == before
    (row,) = world.database.tables.rows("buckets").values()
    assert (row.owner_id, row.storage_class) == (ACTOR.user_id, "standard")
    assert row.bucket_id != world.bucket.bucket_id


async def test_nothing_is_restored_into_somebody_elses_bucket_of_that_name() -> None:
    world = await photos()
    await world.delete(b"x/a", b"x/b", b"y")
    eve = UserId(b"e" * 16)
    other = world.maker.bucket()
    fields = {name: getattr(other, name) for name in other.__dataclass_fields__}
    await world.do(
        world.maker.delete_bucket(world.bucket),
        world.maker.user("eve", eve),
        CreateBucket(**{**fields, "owner_id": eve}),
    )
    with pytest.raises(RestoreRefused, match="belongs to another user"):
        await world.back()
    assert picture(world.database, "photos") == {}
    assert not await world.reader.holds()


async def test_notifications_of_a_bucket_that_is_made_again_begin_anew() -> None:
    """The dispatcher looks at a bucket only if it is told to; former subscriptions have ended."""
    world = await photos()
    part = Notification(
        kind="queue", configuration_id="one", arn="arn:aws:sqs:us-east-1:fileflux:one",
        destination="one", event_names=("s3:ObjectCreated:*",), subscription_id=world.maker.id(),
    )  # fmt: skip
    base: dict[str, Any] = {"upload_id": world.maker.id(), "actor": ACTOR, "at_us": 0}
    base |= {"bucket_id": world.bucket.bucket_id, "bucket": "photos"}
    await world.do(ConfigureBucket(**base, entries={ENTRY: to_entry([part])}))
    world.then = len(await world.records())
    await world.delete(b"x/a", b"x/b", b"y")
    await world.do(world.maker.delete_bucket(world.bucket))

    announced: list[tuple[bytes, int]] = []

    async def announce(bucket_id: bytes, next_position: int) -> None:
        assert picture(world.database, "photos") is None, "before it is there"
        announced.append((bucket_id, next_position))

    run = Restore(
        world.reader, world.database, world.writer, actor=ACTOR, clock=world.clock,
        rng=random.Random(1), announce=announce,
    )  # fmt: skip
    wanted = Wanted("photos", Until(position=world.then))
    await run.run(replace(wanted, dry_run=True))
    assert announced == []
    ended = (await world.reader.audit_head(STREAM)).next_position
    await run.run(wanted)
    (row,) = world.database.tables.rows("buckets").values()
    (again,) = from_config(row.config)
    assert again.means(part)
    assert again.subscription_id != part.subscription_id
    assert announced == [(row.bucket_id, ended)]


async def test_a_bucket_whose_owner_is_gone_is_refused_by_a_dry_run_too() -> None:
    world = await photos()
    await world.delete(b"x/a", b"x/b", b"y")
    await world.do(world.maker.delete_bucket(world.bucket))
    gone = DeleteUser(upload_id=world.maker.id(), actor=ACTOR, at_us=0, user_id=ACTOR.user_id)
    await world.do(gone)
    for dry_run in (True, False):
        with pytest.raises(RestoreRefused, match="cannot be made again"):
            await world.back(dry_run=dry_run)
    assert not await world.reader.holds()


class Interrupted(Exception):
    pass


class OtherWriter:
    """Passes changes on; before the first restored key somebody does `meanwhile`."""

    def __init__(self, inner: Any, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._meanwhile = meanwhile

    async def submit_together(self, *changes: Change) -> tuple[Outcome, ...]:
        if not isinstance(changes[0], CreateHold):
            await self._meanwhile()
        outcomes: tuple[Outcome, ...] = await self._inner.submit_together(*changes)
        return outcomes


async def test_a_key_that_is_written_while_the_restore_runs_stays_as_it_was_written() -> None:
    world = await photos()
    await world.delete(b"x/a", b"y")
    put = world.maker.put(world.bucket, b"y")

    async def meanwhile() -> None:
        await write(world.database, put)

    world.writer = OtherWriter(world.writer, meanwhile)
    await world.back()
    assert world.kinds() == {b"x/a": "create", b"y": "skipped"}
    row = world.database.tables.get("objects", (world.bucket.bucket_id, b"y"))
    assert row.version_id == put.upload_id


async def test_a_key_that_comes_and_goes_while_the_restore_runs_stays_away() -> None:
    """It is absent, as it was seen, and yet somebody wrote and deleted it meanwhile."""
    world = await photos()
    await world.delete(b"x/a", b"y")

    async def meanwhile() -> None:
        await write(world.database, world.maker.put(world.bucket, b"y"))
        await write(world.database, world.maker.delete(world.bucket, b"y"))

    world.writer = OtherWriter(world.writer, meanwhile)
    await world.back()
    assert world.kinds() == {b"x/a": "create", b"y": "skipped"}
    assert sorted(picture(world.database, "photos") or {}) == [b"x/a", b"x/b"]


async def test_an_interrupted_restore_goes_on_and_leaves_what_was_written_since_it_began() -> None:
    world = await photos()
    await world.delete(b"x/a", b"x/b", b"y")
    plain = world.writer

    async def interrupt() -> None:
        raise Interrupted

    world.writer = OtherWriter(plain, interrupt)
    with pytest.raises(Interrupted):
        await world.back()
    assert [hold.kind for hold in await world.reader.holds()] == ["restore"]
    await world.put(b"y", b"x/b")
    await world.delete(b"x/b")

    world.writer = plain
    await world.back(dry_run=True)
    planned = world.kinds()
    await world.back()
    assert world.kinds() == {b"x/a": "create", b"x/b": "skipped", b"y": "skipped"}
    assert planned == world.kinds()
    assert not await world.reader.holds()
    await world.back()  # Another restore: it began after that.
    assert world.kinds() == {b"x/a": "unchanged", b"x/b": "create", b"y": "replace"}


async def test_a_changed_record_restores_nothing() -> None:
    """It could name the bytes of another tenant."""
    world = await photos()
    await world.delete(b"y")
    records = await world.records()
    at = next(n for n, r in enumerate(records) if b'"y"' in r.payload)

    class Tampered:
        async def read(self, position: int) -> Any:
            bad = records[at]
            payload = bad.payload.replace(b"text/plain", b"text/plaim")
            assert payload != bad.payload
            changed = NumberedRecord(
                bad.position, bad.stream, bad.sequence, bad.previous_hash, payload
            )
            yield [*records[position - 1 : at], changed, *records[at + 1 :]]

        async def end(self) -> int:
            return len(records) + 1

    run = Restore(
        world.reader, world.database, world.writer, actor=ACTOR, clock=world.clock,
        rng=random.Random(1), source=Tampered(),
    )  # fmt: skip
    wanted = Wanted("photos", Until(position=world.then))
    with pytest.raises(StreamBroken, match="broken"):
        await run.run(wanted)
    assert not await world.reader.holds(), "nothing was begun that could go on"
    await number(world.database, world.reader)
    plain = world.writer

    async def interrupt() -> None:
        raise Interrupted

    world.writer = OtherWriter(plain, interrupt)
    with pytest.raises(Interrupted):
        await world.back()
    with pytest.raises(StreamBroken, match="broken"):
        await run.run(wanted)
    assert len(await world.reader.holds()) == 1, "of the run before, which can"
    assert sorted(picture(world.database, "photos") or {}) == [b"x/a", b"x/b"]


async def test_a_key_that_changed_takes_two_kilobytes_of_memory() -> None:
    """A bucket of a million keys was emptied: all of them are in memory at once."""
    world = await photos()
    keys = [b"some/usual/name-%06d" % number for number in range(300)]
    await world.put(*keys)
    world.then = len(await world.records())
    await world.delete(*keys)
    head, source = await world.reader.audit_head(STREAM), GivenRecords(await world.records())
    history = BucketHistory(source, head, "photos", prefix=b"some/")
    tracemalloc.start()
    try:
        past = await history.at(world.then)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert past.objects.keys() == past.changed.keys() == set(keys)
    assert peak < 2_500 * len(keys)


async def test_a_time_means_what_had_happened_by_then() -> None:
    world = await photos()
    stamp = data_of((await world.records())[-1])["stamp"]
    await world.delete(b"y")
    run = Restore(
        world.reader, world.database, world.writer, actor=ACTOR, clock=world.clock,
        rng=random.Random(1),
    )  # fmt: skip
    done = await run.run(Wanted("photos", Until(at_us=stamp)))
    assert (done.position, done.counts["create"]) == (world.then, 1)
    for at_us, why in ((1, "nothing had happened"), (1 << 60, "in the future")):
        with pytest.raises(RestoreRefused, match=why):
            await run.run(Wanted("photos", Until(at_us=at_us)))
    with pytest.raises(RestoreRefused, match="ends at position"):
        await run.run(Wanted("photos", Until(position=10_000)))


async def test_a_dry_run_says_until_when_the_bytes_are_kept_and_a_hold_lengthens_it() -> None:
    world = await photos()
    await world.delete(b"y")
    (row,) = world.database.tables.rows("garbage").values()
    assert (await world.back(dry_run=True)).kept_until_us == row.at_us + GRACE_US
    hold = CreateHold(
        **{"upload_id": world.maker.id(), "actor": ACTOR, "at_us": 0},
        hold_id=world.maker.id(),
        kind="operator",
        reason="an audit",
        from_position=1,
        from_us=0,
        until_us=await world.reader.clock_us() + 20 * DAY_US,
    )
    await world.do(hold)
    assert (await world.back(dry_run=True)).kept_until_us == hold.until_us


def test_a_hold_keeps_what_was_dropped_since_and_nothing_before() -> None:
    hold = HoldRow(
        hold_id=Maker(1).id(), kind="operator", reason="", from_position=9, from_us=1_000,
        until_us=30 * DAY_US, created_us=0, row_stamp=0,
    )  # fmt: skip
    assert kept_until_us(999, [hold]) == 999 + GRACE_US
    assert kept_until_us(1_000, [hold]) == 30 * DAY_US
    assert kept_until_us(29 * DAY_US, [hold]) == 29 * DAY_US + GRACE_US


async def test_a_hold_lasts_thirty_days_at_most() -> None:
    world = await photos()
    now_us = await world.reader.clock_us()
    base: dict[str, Any] = {"actor": ACTOR, "at_us": 0, "hold_id": world.maker.id()}
    base |= {"kind": "operator", "reason": "r", "from_position": 1, "from_us": 0}
    told = {}
    for days in (-1, 31, 29):
        change = CreateHold(upload_id=world.maker.id(), until_us=now_us + days * DAY_US, **base)
        told[days] = (await world.writer.submit_together(change))[0].status
    assert told == {-1: "InvalidArgument", 31: "InvalidArgument", 29: "ok"}
    assert len(await world.reader.holds()) == 1
