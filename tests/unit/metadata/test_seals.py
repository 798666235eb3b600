"""What seals bring to a decision: bundles, where they lie, and outcomes when they are refused."""

from dataclasses import replace

import pytest
from tests.model.metadata_changes import NODES, Maker
from tests.model.metadata_store import Store

from fileflux.core.changes import CreateBucket
from fileflux.events.schema import BundleCommitted
from fileflux.metadata.seals import BUNDLE_DEAD, dead_bundles, refused_outcomes


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def bucket(maker: Maker, store: Store) -> CreateBucket:
    made = maker.bucket()
    store.run(maker.user(), made)
    return made


def test_the_bundles_of_a_seal_become_live_with_what_was_sealed(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"k")
    refused = replace(maker.put(bucket, b"k"), bucket_id=maker.id())
    seal = maker.seal(put, refused, states={})

    store.run(put, refused, seals=[seal])

    rows = {row.bundle_id: row for row in store.writes.bundles_live}
    assert rows.keys() == {bundle.bundle_id for bundle in seal.seal.bundles}
    for bundle in seal.seal.bundles:
        row = rows[bundle.bundle_id]
        assert (row.state, row.wanted, row.size, row.crc) == ("live", 3, bundle.size, bundle.crc)


def test_a_bundle_that_is_live_already_is_left_alone(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"k")
    live = {chunk.bundle_id: "live" for chunk in put.manifest.chunks}

    store.run(put, seals=[maker.seal(put, states=live)])
    assert store.writes.bundles_live == []


def test_a_record_says_where_the_bytes_lie_who_chose_it_and_when_they_got_there(
    store: Store, maker: Maker, bucket: CreateBucket
) -> None:
    put = maker.put(bucket, b"k")
    seal = maker.seal(put, states={})
    bundle = seal.seal.bundles[0]
    commit = BundleCommitted(
        bundle_id=bundle.bundle_id,
        seal_id=seal.seal.seal_id,
        node_id=NODES[1],
        node_epoch=1,
        size=bundle.size,
        crc=bundle.crc,
        received_us=11,
        pulled_us=12,
        durable_us=13,
    )
    store.run(put, seals=[replace(seal, commits={bundle.bundle_id: (commit,)})])

    assert store.records()[-1].facts["bundles"] == [
        {
            "bundle": bundle.bundle_id.hex(),
            "seal": seal.seal.seal_id.hex(),
            "epoch": 4,
            "set": 2,
            "nodes": list(NODES),
            "size": 100,
            "crc": 7,
            "size_class": 0,
            "wanted": 3,
            "commits": [
                {"node": NODES[1], "received_us": 11, "pulled_us": 12, "durable_us": 13},
            ],
        }
    ]


def test_a_seal_with_a_dead_bundle_gives_every_upload_the_same_answer(
    maker: Maker, bucket: CreateBucket
) -> None:
    puts = [maker.put(bucket, b"a"), maker.put(bucket, b"b")]
    seal = maker.seal(*puts, states={}).seal
    gone = seal.bundles[1].bundle_id

    assert dead_bundles(seal, {gone: "dead", seal.bundles[0].bundle_id: "staged"}) == [gone]
    outcomes = refused_outcomes(seal.changes, BUNDLE_DEAD)
    assert [(o.upload_id, o.status) for o in outcomes] == [
        (put.upload_id, BUNDLE_DEAD) for put in puts
    ]
