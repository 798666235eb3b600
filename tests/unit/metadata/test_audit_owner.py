"""Every event says whose bucket it happened in: by that alone it is shown to a tenant, or not."""

from dataclasses import replace

import orjson
from tests.model.metadata_changes import ACTOR, Maker
from tests.model.metadata_store import Store

from fileflux.core.ids import UserId
from fileflux.metadata.audit_record import encode_record

OTHER = UserId(b"o" * 16)


def _owners(store: Store) -> list[tuple[str, str | None]]:
    events = [orjson.loads(encode_record(record))["data"] for record in store.records()]
    return [(event["operation"], event["facts"].get("owner")) for event in events]


def test_every_change_in_a_bucket_names_its_owner_and_no_other_change_does() -> None:
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    put, upload = maker.put(bucket, b"key"), maker.create_multipart(bucket, b"big")
    for change in (
        maker.user(),
        bucket,
        put,
        upload,
        maker.abort(upload),
        maker.delete(bucket, b"key"),
        maker.delete_bucket(bucket),
    ):
        assert store.one(change).ok, change

    owner = ACTOR.user_id.hex()
    assert _owners(store) == [
        ("CreateUser", None),
        ("CreateBucket", owner),
        ("PutObject", owner),
        ("CreateMultipartUpload", owner),
        ("AbortMultipartUpload", owner),
        ("DeleteObject", owner),
        ("DeleteBucket", owner),
    ]


def test_a_name_that_somebody_else_takes_in_one_batch_is_theirs_from_then_on() -> None:
    maker, store = Maker(), Store()
    mine = maker.bucket()
    store.run(maker.user(), maker.user("bob", OTHER), mine)
    theirs = replace(maker.bucket(), owner_id=OTHER)
    first, second = store.run(maker.delete_bucket(mine), theirs)

    assert first.ok
    assert second.ok
    assert _owners(store)[-2:] == [
        ("DeleteBucket", ACTOR.user_id.hex()),
        ("CreateBucket", OTHER.hex()),
    ]
