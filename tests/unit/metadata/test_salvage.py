"""Which of the nodes' records a salvage believes, and what it makes of them."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.rebuild_world import GivenRecords, audited, number, rebuild, records_of
from tests.model.salvage_bundles import (
    AT_US,
    NODES,
    PHOTOS,
    SECOND_US,
    Uploads,
    index_of,
)
from tests.model.salvage_world import LATE, ROOT, Told, salvage, without

from fileflux.core.bundle_format import encode_sparse
from fileflux.core.bundle_records import MultipartRecord
from fileflux.core.changes import AcceptAsync
from fileflux.core.clock import ManualClock
from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId, BundleId, UploadId
from fileflux.core.model import Chunk, Manifest, ObjectMeta, WriteConditions
from fileflux.core.node_records import HeldBundle
from fileflux.metadata.chain import ChainState, NumberedRecord, verify_chain
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_reader import MemoryReader
from fileflux.metadata.rebuild import Rebuild, StreamBroken, Until
from fileflux.metadata.rebuild_target import RebuildRefused, RebuildTarget
from fileflux.metadata.replay_batch import data_of
from fileflux.metadata.rows import Footprint
from fileflux.metadata.salvage import ROWS_PER_LOAD

KEYS = [b"a", b"b", b"c", b"d", "ä".encode()]


def bytes_of(uploads: Uploads, told: Told) -> dict[tuple[bytes, bytes], bytes]:
    return {place: uploads.data_of(row.manifest) for place, row in told.objects().items()}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), lost=st.sampled_from(NODES))
async def test_any_acknowledged_object_survives_the_loss_of_any_node_below_its_quorum(
    seed: int, lost: str
) -> None:
    """Two or three nodes acknowledged each bundle, in any order; one node of four is lost."""
    rng = random.Random(seed)
    uploads = Uploads(rng)
    for _ in range(rng.randrange(1, 12)):
        if rng.random() < 0.6:
            keys = rng.sample(KEYS, rng.randrange(1, 4))
            uploads.put(*((key, rng.randbytes(rng.randrange(1, 50))) for key in keys))
        else:
            pieces = [rng.randbytes(rng.randrange(1, 90)) for _ in range(rng.randrange(1, 4))]
            uploads.put_large(rng.choice(KEYS), *pieces)
    held = {node: rng.sample(h, len(h)) for node, h in uploads.held.items() if node != lost}
    told = await salvage(held)

    assert bytes_of(uploads, told) == uploads.current
    assert told.found.keys() <= {"superseded", "too_few_replicas"}
    records = await records_of(told.reader)
    made = MemoryDatabase()
    await rebuild(GivenRecords(records), made)
    assert verify_chain(records, after=ChainState())[0] == []
    assert audited(made) == audited(told.database)


async def test_the_order_in_which_nodes_are_asked_changes_nothing() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"one"), (b"b", b"two"))
    uploads.put((b"a", b"three"))
    there = await salvage(uploads.held)
    back = await salvage(
        {node: list(reversed(uploads.held[node])) for node in reversed(list(uploads.held))}
    )

    assert audited(back.database) == audited(there.database)


async def test_an_object_of_which_a_chunk_is_lost_is_named_and_a_former_one_comes_back() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"former"))
    first, second = uploads.put_large(b"a", b"new-", b"one")
    uploads.put((b"b", b"whole"))
    told = await salvage(without(uploads.held, *((node, first) for node in NODES)))

    assert {key: data for (_, key), data in bytes_of(uploads, told).items()} == {
        b"a": b"former",
        b"b": b"whole",
    }
    assert (told.found["upload_incomplete"], told.found["older_version"]) == (1, 1)
    (line,) = [one for one in told.lines if one["finding"] == "upload_incomplete"]
    assert (line["key"], line["missing"], line["was_sealed"]) == ("a", [first.hex()], True)
    assert second.hex() not in line["missing"]


async def test_what_never_finished_brings_nothing_back_and_hides_nothing() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"acknowledged"))
    current = dict(uploads.current)
    _, last = uploads.put_large(b"a", b"begun-", b"never sealed")
    told = await salvage(without(uploads.held, *((node, last) for node in NODES)))

    assert bytes_of(uploads, told) == current
    assert told.found.get("older_version") is None
    assert told.found["upload_incomplete"] == 1


async def test_a_bucket_that_was_made_again_keeps_only_its_own_objects() -> None:
    """Ids are never used again, and only an empty bucket is deleted: the older one is gone."""
    uploads = Uploads()
    uploads.put((b"a", b"of the former bucket"))
    again = BucketId(b"again".ljust(16, b"."))
    uploads.put_large(b"b", b"of the present one", bucket_id=again)
    told = await salvage(uploads.held)

    assert set(told.objects()) == {(again, b"b")}
    assert told.found["bucket_gone"] == 1


async def test_an_upload_that_outlived_its_bucket_hides_no_other_bucket_of_its_name() -> None:
    """Its bytes came after all of the present bucket's; it was asked for before that was made."""
    uploads = Uploads()
    uploads.put((b"a", b"of the former bucket"))
    asked_us = uploads.now_us + 1
    again = BucketId(b"again".ljust(16, b"."))
    uploads.put_large(b"b", b"of the present one", bucket_id=again)
    uploads.now_us += 60 * SECOND_US
    record = uploads.record(b"late", at_us=asked_us)
    uploads.store([(replace(uploads.meta(b"c"), record=record), b"late")])
    told = await salvage(uploads.held)

    assert set(told.objects()) == {(again, b"b")}
    assert told.found["bucket_gone"] == 2


@pytest.mark.parametrize(
    ("asked_after_us", "current", "found"),
    [
        (-SECOND_US, b"first", {"condition_refused": 1}),
        (60 * SECOND_US, b"second", {"superseded": 1}),
    ],
    ids=["both at once", "deleted between"],
)
async def test_a_condition_is_decided_again_only_where_it_can_have_lost_a_race(
    asked_after_us: int, current: bytes, found: dict[str, int]
) -> None:
    """A version that had been there long before would have refused the request's head."""
    uploads = Uploads()
    uploads.put((b"a", b"first"), nodes=NODES[:3])
    uploads.now_us += asked_after_us
    asked_us, uploads.now_us = uploads.now_us, uploads.now_us + 2 * SECOND_US
    record = uploads.record(
        b"second", at_us=asked_us, conditions=WriteConditions(if_none_match="*")
    )
    uploads.store([(replace(uploads.meta(b"a"), record=record), b"second")], nodes=NODES[:3])
    told = await salvage(uploads.held)

    assert bytes_of(uploads, told) == {(PHOTOS, b"a"): current}
    assert told.found == found


@pytest.mark.parametrize("asked", [WriteConditions(), WriteConditions(if_none_match="*")])
async def test_two_writes_of_one_bundle_are_decided_in_the_order_that_they_stand_in(
    asked: WriteConditions,
) -> None:
    """That is how they were decided then: the one whose body was there first, not its request."""
    uploads = Uploads()
    uploads.now_us += SECOND_US
    entries = []
    for data, early_us in ((b"first there", 1_000), (b"first asked", 2_000)):
        record = uploads.record(data, at_us=uploads.now_us - early_us, conditions=asked)
        entries.append((replace(uploads.meta(b"a"), record=record), data))
    uploads.store(entries, nodes=NODES[:3])
    told = await salvage(uploads.held)

    current = b"first asked" if asked == WriteConditions() else b"first there"
    assert bytes_of(uploads, told) == {(PHOTOS, b"a"): current}


# --- hostile and contradictory records ----------------------------------------------------------


async def test_of_two_contents_of_one_id_that_of_most_nodes_is_believed() -> None:
    uploads = Uploads()
    bundle_id = uploads.put((b"a", b"right"), nodes=NODES[:2])
    right = uploads.raw[bundle_id]
    forged = replace(uploads.meta(b"a"), record=uploads.record(b"wrong"))
    uploads.store([(forged, b"wrong")], bundle_id=bundle_id, nodes=NODES[2:3])
    uploads.raw[bundle_id] = right
    told = await salvage(uploads.held)

    assert bytes_of(uploads, told) == {(PHOTOS, b"a"): b"right"}
    assert told.found["bundle_conflict"] == 1


async def test_of_two_contents_of_one_id_on_as_many_nodes_neither_is_believed() -> None:
    uploads = Uploads()
    uploads.put((b"other", b"x"))
    bundle_id = uploads.put((b"a", b"right"), nodes=NODES[:1])
    forged = replace(uploads.meta(b"a"), record=uploads.record(b"wrong"))
    uploads.store([(forged, b"wrong")], bundle_id=bundle_id, nodes=NODES[2:3])
    told = await salvage(uploads.held)

    assert set(told.objects()) == {(PHOTOS, b"other")}
    (line,) = [one for one in told.lines if one["finding"] == "bundle_conflict"]
    assert (line["versions"], line["believed"]) == ([[NODES[0]], [NODES[2]]], None)


async def test_a_forged_chunk_takes_no_object_away_that_its_own_record_makes_whole() -> None:
    uploads = Uploads()
    first, _ = uploads.put_large(b"a", b"two ", b"pieces")
    named = index_of(uploads.raw[first])
    upload_id = named.meta(named.chunk(0)).upload_id
    forged = replace(uploads.meta(b"b"), upload_id=upload_id, chunk_number=5)
    uploads.store([(forged, b"forged")])
    told = await salvage(uploads.held)

    assert bytes_of(uploads, told) == {(PHOTOS, b"a"): b"two pieces"}
    assert told.found["upload_conflict"] == 1


async def test_a_forged_part_takes_no_multipart_upload_away() -> None:
    uploads = Uploads()
    multipart = UploadId(b"multipart upload")
    for part, size in ((1, 5 << 20), (2, 7)):
        uploads.put_large(b"big", bytes(size), multipart_id=multipart, part_number=part)
    uploads.put_large(b"other", b"x", multipart_id=multipart, part_number=3)
    told = await salvage(uploads.held)

    assert {key: row.size for (_, key), row in told.objects().items()} == {b"big": (5 << 20) + 7}
    assert told.found["upload_conflict"] == 1


@pytest.mark.parametrize(("last", "is_short"), [(7, True), (5 << 20, False)])
async def test_the_details_say_whether_an_assembled_upload_may_have_broken_off(
    last: int, is_short: bool
) -> None:
    """One that broke off between two parts has all of one size; a whole one at times, too."""
    uploads = Uploads()
    for part, size in ((1, 5 << 20), (2, last)):
        uploads.put_large(b"big", bytes(size), multipart_id=UploadId(bytes(16)), part_number=part)
    told = await salvage(uploads.held)

    (line,) = [one for one in told.lines if one["finding"] == "multipart_assumed"]
    assert (line["parts"], line["size"]) == (2, (5 << 20) + last)
    assert line["last_is_shorter"] is is_short


async def test_no_object_is_assembled_from_a_former_part_in_place_of_a_lost_one() -> None:
    uploads = Uploads()
    multipart: dict[str, Any] = {"multipart_id": UploadId(b"multipart upload"), "part_number": 1}
    uploads.put_large(b"big", b"former", **multipart)
    first, _ = uploads.put_large(b"big", b"lat", b"est", **multipart)
    told = await salvage(without(uploads.held, *((node, first) for node in NODES)))

    assert told.objects() == {}
    assert (told.found["multipart_open"], told.found["upload_incomplete"]) == (1, 1)


async def test_records_of_several_buckets_follow_each_other_in_time_and_keep_their_times() -> None:
    uploads = Uploads()
    later = BucketId(b"later".ljust(16, b"."))
    for key in (b"a", b"b"):
        uploads.put((key, b"x"))
        uploads.now_us += 3_600 * SECOND_US
        uploads.put_large(key, b"x", bucket_id=later, bucket="later")
    told = await salvage(uploads.held)
    stamps = [data_of(record)["stamp"] for record in await records_of(told.reader)]

    assert stamps == sorted(set(stamps))
    rows = told.objects()
    hours = [
        (rows[place].stamp - AT_US) // (3_600 * SECOND_US)
        for place in ((PHOTOS, b"a"), (later, b"a"), (PHOTOS, b"b"), (later, b"b"))
    ]
    assert hours == [0, 1, 1, 2]


# --- behind an audit stream -----------------------------------------------------------------------


async def stream_of(uploads: Uploads) -> list[NumberedRecord]:
    """Return the audit stream of a store that has exactly these uploads."""
    return await records_of((await salvage(uploads.held)).reader)


async def test_what_stands_behind_until_is_taken_from_the_nodes() -> None:
    """A rebuild reads further than it replays: what it only read is not known."""
    uploads = Uploads()
    uploads.put((b"a", b"x"))
    uploads.put((b"b", b"y"))
    stream = await stream_of(uploads)
    until = Until(position=len(stream) - 1)
    told = await salvage(uploads.held, source=GivenRecords(stream), until=until)

    assert bytes_of(uploads, told) == uploads.current
    assert (told.done.replayed, told.done.objects) == (len(stream) - 1, 1)


async def test_what_the_stream_should_name_and_does_not_is_left_out() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"x"))
    uploads.now_us += 2 * 3_600 * SECOND_US
    uploads.put((b"b", b"y"))
    stream = await stream_of(uploads)
    uploads.now_us -= 2 * 3_600 * SECOND_US
    uploads.put((b"refused", b"z"))
    told = await salvage(uploads.held, source=GivenRecords(stream))

    assert {key for _, key in told.objects()} == {b"a", b"b"}
    assert told.found["not_in_stream"] == 1


async def test_an_upload_that_the_stream_says_was_accepted_comes_back_however_late_it_is() -> None:
    """Answered with 202, it may wait for its nodes for days, and its bundles are as old."""
    uploads = Uploads()
    uploads.put((b"a", b"x"))
    former = await salvage(uploads.held)
    meta = uploads.meta(b"accepted")
    accepted = AcceptAsync(
        upload_id=meta.upload_id,
        actor=ROOT.actor,
        at_us=uploads.now_us,
        bucket_id=PHOTOS,
        bucket="photos",
        key=meta.key,
        size=1,
    )
    direct = DirectWriter(former.database, rng=uploads.rng)
    assert (await direct.submit(accepted)).ok
    await direct.close()
    await number(former.database, former.reader)
    uploads.store([(replace(meta, record=uploads.record(b"y")), b"y")])
    told = await salvage(uploads.held, source=GivenRecords(await records_of(former.reader)))

    assert {key for _, key in told.objects()} == {b"a", b"accepted"}
    assert told.found == {"too_few_replicas": 1}
    assert await told.reader.find_async(meta.upload_id) == "ok"


async def test_a_bucket_whose_name_the_stream_gives_to_another_is_told() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"x"))
    stream = await stream_of(uploads)
    uploads.put_large(b"b", b"y", bucket_id=BucketId(b"again".ljust(16, b".")))
    told = await salvage(uploads.held, source=GivenRecords(stream))

    assert set(told.objects()) == {(PHOTOS, b"a")}
    assert told.found["bucket_taken"] == 1


@pytest.mark.parametrize(
    "said",
    [
        b'{"id":"zz","data":{"version":1,"stamp":5}}',
        b'{"data":{"version":1,"stamp":5,"effects":7}}',
    ],
)
async def test_a_stream_with_a_record_that_is_none_is_refused_with_its_position(
    said: bytes,
) -> None:
    uploads = Uploads()
    uploads.put((b"a", b"x"))
    stream = await stream_of(uploads)
    broken = [*stream[:-1], replace(stream[-1], payload=said)]
    with pytest.raises((EventInvalid, StreamBroken), match=f"position {len(stream)}"):
        await salvage(uploads.held, source=GivenRecords(broken))


async def test_a_salvage_that_ended_early_is_not_gone_on_with() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"x"))
    stream = await stream_of(uploads)
    target = RebuildTarget(database := MemoryDatabase(), MemoryReader(database))
    await Rebuild(GivenRecords(stream), target, clock=LATE).run()
    with pytest.raises(RebuildRefused, match="ended early: give an empty one"):
        await salvage(uploads.held, database=database)


# --- more of what is forged -----------------------------------------------------------------------


async def test_chunks_of_one_upload_that_name_two_keys_are_left_out() -> None:
    uploads = Uploads()
    uploads.put((b"other", b"x"))
    meta = uploads.meta(b"a")
    record = uploads.record(b"data")
    uploads.store([(replace(meta, record=record), b"data")])
    uploads.store([(replace(meta, key=b"b", record=record), b"data")])
    told = await salvage(uploads.held)

    assert set(told.objects()) == {(PHOTOS, b"other")}
    assert told.found["upload_conflict"] == 1


LATER = 9_000_000_000_000_000
HOSTILE: dict[str, dict[str, Any]] = {
    "bucket": {"bucket": "../../etc"},
    "bucket of another case": {"bucket": "Photos"},
    "no key": {"key": b""},
    "long key": {"key": b"k" * 1_025},
    "key of bytes": {"key": b"\xff\xfe"},
    "part without an upload": {"part_number": 3},
    "upload without a part": {"multipart_id": UploadId(bytes(16))},
    "part beyond the last": {"multipart_id": UploadId(bytes(16)), "part_number": 10_001},
}
HOSTILE_RECORDS: dict[str, dict[str, Any]] = {
    "no size": {"size": 0},
    "another size": {"size": 5},
    "negative": {"size": -1},
    "huge": {"size": 1 << 62},
    "header that is two": {"meta": ObjectMeta({"content-type": "a\r\nset-cookie: b"})},
    "name that is none": {"meta": ObjectMeta({"Content Type": "a"})},
    "header beyond Latin-1": {"meta": ObjectMeta({"content-type": "日本"})},
    "user's name with a colon": {"meta": ObjectMeta({}, {"a:b": "x"})},
    "user's name in capitals": {"meta": ObjectMeta({}, {"A": "x"})},
    "checksum that nobody knows": {"meta": ObjectMeta({}, {}, {"CRC16": "AAAA"})},
    "checksum that is a text": {"meta": ObjectMeta({}, {}, {"CRC32": "a b"})},
    "NUL": {"meta": ObjectMeta({}, {"a": "\x00"})},
    "too much": {"meta": ObjectMeta({}, {"a": "x" * 40_000})},
    "kind of checksum": {"meta": ObjectMeta({}, {}, {}, "NONSENSE")},
    "class": {"storage_class": "a class'; DROP TABLE"},
    "etag": {"etag": 'a"b'},
    "no etag": {"etag": ""},
    "future": {"at_us": LATER * 2},
    "before all": {"at_us": -5},
    "manifest of parts": {"manifest": Manifest(parts=((1, 4),))},
    "foreign chunk": {"manifest": Manifest((Chunk(BundleId(bytes(16)), 0, 4),))},
    "part's upload": {
        "multipart": MultipartRecord(
            meta=ObjectMeta(), checksum_algorithm="", checksum_type="", created_us=1
        )
    },
    "condition": {"conditions": WriteConditions(if_match="x\r\n")},
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_record_that_no_upload_can_have_written_is_left_out(said: dict[str, Any]) -> None:
    uploads = Uploads()
    uploads.put((b"other", b"x"))
    forged = replace(uploads.meta(b"a"), record=uploads.record(b"data"), **said)
    uploads.store([(forged, b"data")])
    told = await salvage(uploads.held)

    assert set(told.objects()) == {(PHOTOS, b"other")}
    assert told.found["record_refused"] == 1


@pytest.mark.parametrize("said", HOSTILE_RECORDS.values(), ids=HOSTILE_RECORDS.keys())
async def test_an_upload_that_no_request_can_have_made_is_left_out(said: dict[str, Any]) -> None:
    uploads = Uploads()
    uploads.put((b"other", b"x"))
    record = replace(uploads.record(b"data"), **said)
    uploads.store([(replace(uploads.meta(b"a"), record=record), b"data")])
    told = await salvage(uploads.held)

    assert set(told.objects()) == {(PHOTOS, b"other")}
    assert told.found["record_refused"] == 1


async def test_a_time_ahead_of_every_clock_hides_no_object() -> None:
    uploads = Uploads()
    uploads.put((b"a", b"right"))
    uploads.now_us = LATER
    forged = replace(uploads.meta(b"a"), record=uploads.record(b"wrong", at_us=uploads.now_us))
    uploads.store([(forged, b"wrong")])
    told = await salvage(uploads.held, clock=ManualClock(now_us=LATER // 2))

    assert bytes_of(uploads, told) == {(PHOTOS, b"a"): b"right"}


async def test_a_replica_that_cannot_be_read_is_told_and_another_one_is_taken() -> None:
    uploads = Uploads()
    bundle_id = uploads.put((b"a", b"x"), nodes=NODES[:2])
    uploads.held[NODES[0]] = [HeldBundle(bundle_id, None, "its index fails its CRC")]
    told = await salvage(uploads.held)

    assert told.found == {"bundle_unreadable": 1, "too_few_replicas": 1}
    (found,) = await told.reader.find_objects([("photos", b"a")])
    assert list(found.replicas[bundle_id]) == [NODES[1]]


async def test_a_chunk_that_is_rotten_on_every_node_is_lost_and_one_that_is_not_is_read() -> None:
    uploads = Uploads()
    bundle_id = uploads.put((b"a", b"rotten here"), (b"b", b"rotten everywhere"), nodes=NODES[:2])
    index = index_of(uploads.raw[bundle_id])
    for node, rotten in zip(NODES, ({0, 1}, {1}), strict=False):
        uploads.held[node] = [HeldBundle(bundle_id, index, rotten=frozenset(rotten))]
    told = await salvage(uploads.held)

    assert [key for _, key in told.objects()] == [b"a"]
    assert told.found["chunk_rotten"] == 3


async def test_a_chunk_that_one_node_dropped_and_that_is_rotten_on_the_other_is_lost() -> None:
    uploads = Uploads()
    bundle_id = uploads.put((b"a", b"dropped"), (b"b", b"kept"), nodes=NODES[:2])
    view = index_of(raw := uploads.raw[bundle_id])
    place = view.chunk(1)
    kept = view.raw_chunk(place, raw[place.offset : place.offset + place.length])
    sparse = index_of(b"".join(encode_sparse(view.header, [kept]).parts))
    uploads.held[NODES[0]] = [HeldBundle(bundle_id, sparse)]
    uploads.held[NODES[1]] = [HeldBundle(bundle_id, view, rotten=frozenset({0}))]
    told = await salvage(uploads.held)

    assert [key for _, key in told.objects()] == [b"b"]


async def test_uploads_of_many_parts_are_loaded_a_few_at_a_time() -> None:
    uploads = Uploads()
    for key in KEYS:
        multipart = UploadId(uploads.rng.randbytes(16))
        for part in range(1, 91):
            uploads.put_large(key, b"x", multipart_id=multipart, part_number=part)
    sizes: list[int] = []

    class Counting(MemoryDatabase):
        async def run(self, work: Any, **options: Any) -> Any:
            async def counted(transaction: Any) -> Any:
                load = transaction.load_rows

                async def load_rows(wanted: Footprint) -> Any:
                    sizes.append(sum(len(numbers or ()) for numbers in wanted.multiparts.values()))
                    return await load(wanted)

                transaction.load_rows = load_rows
                return await work(transaction)

            return await super().run(counted, **options)

    told = await salvage(uploads.held, database=Counting())

    assert told.found["multipart_open"] == len(KEYS)
    assert max(sizes) <= ROWS_PER_LOAD < sum(sizes)


async def test_a_storage_class_that_nobody_defines_is_told_once() -> None:
    """Its bundles then want as many replicas as were found: one that is lost is never missed."""
    uploads = Uploads()
    for key in KEYS:
        uploads.now_us += SECOND_US
        record = uploads.record(b"x", storage_class="precious")
        uploads.store([(replace(uploads.meta(key), record=record), b"x")], nodes=NODES[:2])
    told = await salvage(uploads.held)

    assert told.found == {"class_unknown": 1}
    assert [line["storage_class"] for line in told.lines] == ["precious"]


async def test_nodes_that_hold_nothing_make_no_database() -> None:
    with pytest.raises(RebuildRefused, match="no object that could be salvaged"):
        await salvage({NODES[0]: []})
