"""Buckets, users, access keys and the operators' intent for nodes."""

from dataclasses import replace
from typing import Any

import pytest
from tests.model.metadata_changes import ACTOR, AT_US, Maker
from tests.model.metadata_store import Store

from fileflux.core.changes import (
    ConfigureBucket,
    CreateBucket,
    CreateKey,
    DeleteKey,
    DeleteUser,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.ids import NodeId, UserId
from fileflux.metadata.parts_budget import Limits

OTHER = UserId(b"o" * 16)


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def store(maker: Maker) -> Store:
    store = Store()
    assert all(o.ok for o in store.run(maker.user(), maker.user("bob", OTHER)))
    return store


def base(maker: Maker) -> dict[str, Any]:
    return {"upload_id": maker.id(), "actor": ACTOR, "at_us": AT_US}


def configure(maker: Maker, bucket: CreateBucket, entries: dict[str, object]) -> ConfigureBucket:
    return ConfigureBucket(
        **base(maker), bucket_id=bucket.bucket_id, bucket=bucket.bucket, entries=entries
    )


def create_key(maker: Maker, access_key: str, user_id: UserId = ACTOR.user_id) -> CreateKey:
    return CreateKey(**base(maker), user_id=user_id, access_key=access_key, secret=b"encrypted")


def test_a_bucket_name_is_taken_once(store: Store, maker: Maker) -> None:
    own, foreign = maker.bucket("red"), replace(maker.bucket("red"), owner_id=OTHER)

    assert store.one(own).ok
    assert store.one(maker.bucket("red")).status == "BucketAlreadyOwnedByYou"
    assert store.one(foreign).status == "BucketAlreadyExists"
    assert store.one(maker.bucket("blue", own.bucket_id)).status == "OperationAborted"


def test_a_bucket_needs_an_owner(store: Store, maker: Maker) -> None:
    nobodys = replace(maker.bucket(), owner_id=maker.id())

    assert store.one(nobodys).status == "NoSuchEntity"


def test_configuration_is_merged_entry_by_entry(store: Store, maker: Maker) -> None:
    bucket = maker.bucket()
    store.run(bucket)
    store.run(configure(maker, bucket, {"class": "archive", "webhooks": [1], "old": 1}))
    store.run(configure(maker, bucket, {"old": None, "class": None}))

    row = store.tables.get("buckets", (bucket.bucket_id,))
    assert (row.config, row.storage_class) == ({"webhooks": [1]}, "archive")
    assert store.one(configure(maker, maker.bucket(), {})).status == "NoSuchBucket"


def test_a_bucket_with_an_object_stays(store: Store, maker: Maker) -> None:
    bucket = maker.bucket()
    store.run(bucket, maker.put(bucket, b"k"))

    assert store.one(maker.delete_bucket(bucket)).status == "BucketNotEmpty"


def test_a_bucket_emptied_by_the_same_batch_goes(store: Store, maker: Maker) -> None:
    bucket = maker.bucket()
    store.run(bucket, maker.put(bucket, b"k"))

    outcomes = store.run(maker.delete(bucket, b"k"), maker.delete_bucket(bucket))
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]


def test_a_bucket_filled_by_the_same_batch_stays(store: Store, maker: Maker) -> None:
    bucket = maker.bucket()
    store.run(bucket)

    outcomes = store.run(maker.put(bucket, b"k"), maker.delete_bucket(bucket))
    assert [outcome.status for outcome in outcomes] == ["ok", "BucketNotEmpty"]


def test_deleting_a_bucket_aborts_its_open_uploads(store: Store, maker: Maker) -> None:
    bucket = maker.bucket()
    uploads = [maker.create_multipart(bucket, b"k") for _ in range(2)]
    parts = [maker.part(upload, 1) for upload in uploads]
    store.run(bucket, *uploads, *parts)

    assert store.one(maker.delete_bucket(bucket)).ok
    assert len(store.garbage()) == 2
    assert store.tables.rows("parts") == {}
    late = maker.part(uploads[0], 2)
    assert store.one(late).status == "NoSuchBucket"
    assert len(store.garbage()) == 3


def test_uploads_that_are_too_many_are_aborted_when_their_bucket_is_gone(maker: Maker) -> None:
    store = Store(limits=Limits(uploads=1))
    bucket = maker.bucket()
    uploads = [maker.create_multipart(bucket, b"k") for _ in range(3)]
    parts = [maker.part(upload, 1) for upload in uploads]
    store.run(maker.user(), bucket, *uploads, *parts)

    assert store.one(maker.delete_bucket(bucket)).ok
    assert len(store.garbage()) == 1
    late = maker.part(uploads[0], 2)
    assert store.one(late).status == "NoSuchBucket"
    assert len(store.left_open()) == 2
    store.drop_left_behind(maker)
    assert store.left_open() == []
    assert len(store.garbage()) == 4


def test_a_namesake_of_a_deleted_bucket_comes_after_it(store: Store, maker: Maker) -> None:
    bucket, put = maker.bucket("red"), None
    store.run(bucket)
    put = maker.put(bucket, b"k")
    deleted = store.one(maker.delete_bucket(bucket))
    store.clock_us -= 60_000_000

    assert store.one(maker.bucket("red")).stamp > deleted.stamp
    assert store.one(put).status == "NoSuchBucket"


def test_user_names_are_taken_once_until_they_are_free_again(store: Store, maker: Maker) -> None:
    assert store.one(maker.user("ada", maker.id())).status == "EntityAlreadyExists"
    deleted = store.one(DeleteUser(**base(maker), user_id=OTHER))
    store.clock_us -= 60_000_000

    again = store.one(maker.user("bob", maker.id()))
    assert again.ok
    assert again.stamp > deleted.stamp


def test_a_user_with_buckets_stays_and_one_without_goes_with_its_keys(
    store: Store, maker: Maker
) -> None:
    bucket = replace(maker.bucket(), owner_id=OTHER)
    store.run(bucket, create_key(maker, "K1", OTHER), create_key(maker, "K2"))
    delete = DeleteUser(**base(maker), user_id=OTHER)
    assert store.one(delete).status == "DeleteConflict"

    outcomes = store.run(maker.delete_bucket(bucket), DeleteUser(**base(maker), user_id=OTHER))
    assert all(outcome.ok for outcome in outcomes)
    assert set(store.tables.rows("access_keys")) == {("K2",)}
    assert store.one(DeleteUser(**base(maker), user_id=OTHER)).status == "NoSuchEntity"


def test_a_user_that_gets_a_bucket_in_the_same_batch_stays(store: Store, maker: Maker) -> None:
    bucket = replace(maker.bucket(), owner_id=OTHER)

    outcomes = store.run(bucket, DeleteUser(**base(maker), user_id=OTHER))
    assert [outcome.status for outcome in outcomes] == ["ok", "DeleteConflict"]


def test_access_keys_come_are_switched_and_go(store: Store, maker: Maker) -> None:
    assert store.one(create_key(maker, "K1")).ok
    assert store.one(create_key(maker, "K1", OTHER)).status == "EntityAlreadyExists"
    assert store.one(create_key(maker, "K2", maker.id())).status == "NoSuchEntity"
    off = SetKeyActive(**base(maker), access_key="K1", active=False)
    assert store.one(off).ok
    assert store.tables.get("access_keys", ("K1",)).active is False
    deleted = store.one(DeleteKey(**base(maker), access_key="K1"))
    assert deleted.ok
    assert store.one(replace(off, upload_id=maker.id())).status == "NoSuchEntity"
    assert store.one(DeleteKey(**base(maker), access_key="K1")).status == "NoSuchEntity"
    store.clock_us -= 60_000_000
    assert store.one(create_key(maker, "K1")).stamp > deleted.stamp


def test_a_password_is_replaced(store: Store, maker: Maker) -> None:
    change = SetPassword(**base(maker), user_id=OTHER, password_hash="$argon2id$new")

    assert store.one(change).ok
    assert store.tables.get("users", (OTHER,)).password_hash == "$argon2id$new"
    missing = SetPassword(**base(maker), user_id=maker.id(), password_hash="")
    assert store.one(missing).status == "NoSuchEntity"


def test_the_intent_for_a_node_is_one_of_three(store: Store, maker: Maker) -> None:
    node_id = NodeId("node-a")
    drain = SetNodeIntent(**base(maker), node_id=node_id, intent="drain", weight=0.5)

    assert store.one(drain).ok
    assert store.tables.get("nodes", (node_id,)).intent == "drain"
    explode = SetNodeIntent(**base(maker), node_id=node_id, intent="explode")
    assert store.one(explode).status == "InvalidArgument"
