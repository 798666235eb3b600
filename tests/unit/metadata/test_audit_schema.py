"""Every audit record is what the published schema says, and has no member that it does not say."""

import random
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.model.any_rows import ROWS
from tests.model.change_storm import Storm, batches
from tests.model.metadata_changes import ACTOR, AT_US, NODES, Maker
from tests.model.metadata_store import Store
from tests.model.rebuild_world import number, records_of, write
from tests.model.restore_world import RestoreWorld
from tests.model.salvage_bundles import Uploads
from tests.model.salvage_world import salvage
from tests.model.schema_check import found_wrong, problems

from fileflux.core.changes import (
    ConfigureBucket,
    CreateKey,
    DeleteKey,
    DeleteUser,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.ids import UserId
from fileflux.events.audit import to_cloudevent
from fileflux.metadata.apply import apply_failed, footprint
from fileflux.metadata.audit_filter import OPERATION_NAMES, OpenedRecord
from fileflux.metadata.audit_json import structured, structured_for
from fileflux.metadata.audit_record import SALVAGE, SYSTEM_STREAM, decode_record, encode_record
from fileflux.metadata.audit_schema import audit_headers
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.checkpoint import encode_checkpoint, sign_next
from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.memory_loads import load_rows
from fileflux.metadata.parts_budget import Limits
from fileflux.metadata.row_json import effect_to_json
from fileflux.metadata.row_keys import key_of
from fileflux.metadata.rows import AuditRecord, Row, RowWrite

OTHER = UserId(b"o" * 16)
TINY = Limits(depth=1, parts=2, uploads=1)


def assert_published_as_declared(record: AuditRecord) -> None:
    """On the topic, in a line of the archive, and as the owner and others see it."""
    raw = encode_record(record)
    numbered = NumberedRecord(
        position=7,
        stream=record.bucket_id or SYSTEM_STREAM,
        sequence=3,
        previous_hash=bytes(32),
        payload=raw,
    )
    assert problems("audit-record", raw) == [], raw
    assert problems("audit-line", structured(numbered)) == []
    for reader in (ACTOR.user_id, OTHER):
        seen = structured_for(reader.hex(), OpenedRecord(numbered))
        assert problems("tenant-event", seen) == [], seen


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 32))
@example(seed=7376)
def test_every_record_of_any_sequence_of_changes_is_as_declared(seed: int) -> None:
    rng = random.Random(seed)
    storm, store = Storm(rng), Store()
    store.run(storm.maker.user())
    for size in batches(rng, 30):
        store.run(*(storm.change()[0] for _ in range(size)))
        for record in store.writes.audit:
            assert_published_as_declared(record)


@settings(max_examples=40, deadline=None)
@given(row=ROWS)
def test_every_effect_is_as_declared(row: Row) -> None:
    """A row's schema is made from its type; this says that its JSON is too."""
    table, key = key_of(row)
    raw = encode_record(_recorded(Maker().user())[0])
    for effect in (RowWrite(table, key, row), RowWrite(table, key, None)):
        event = orjson.loads(raw)
        event["data"]["effects"] = [effect_to_json(effect)]
        assert problems("audit-record", event) == []


def _base(maker: Maker) -> dict[str, Any]:
    return {"upload_id": maker.id(), "actor": ACTOR, "at_us": AT_US}


def _recorded(*changes: Any) -> list[AuditRecord]:
    store = Store()
    found: list[AuditRecord] = []
    for change in changes:
        store.run(change)
        found += store.writes.audit
    return found


def account_records() -> list[AuditRecord]:
    """One record of each change of accounts, nodes and configuration."""
    maker = Maker()
    bucket = maker.bucket()
    base = _base(maker)
    named: dict[str, Any] = {"user_id": OTHER}
    return _recorded(
        maker.user(),
        maker.user("eve", OTHER),
        bucket,
        ConfigureBucket(
            **_base(maker), bucket_id=bucket.bucket_id, bucket="photos", entries={"a": 1}
        ),
        SetPassword(**_base(maker), **named, password_hash="argon2"),
        CreateKey(**_base(maker), **named, access_key="AKID", secret=b"x"),
        SetKeyActive(**_base(maker), access_key="AKID", active=False),
        DeleteKey(**_base(maker), access_key="AKID"),
        DeleteUser(**_base(maker), **named),
        SetNodeIntent(**base, node_id=NODES[0], intent="drain", weight=0.5),
        maker.delete_bucket(bucket),
    )


def test_records_of_accounts_nodes_and_configuration_are_as_declared() -> None:
    found = account_records()
    for record in found:
        assert_published_as_declared(record)
    assert len(found) == 11


def async_records() -> list[AuditRecord]:
    """An upload that was accepted, and one that could not be stored after that."""
    maker, store = Maker(), Store()
    bucket = maker.bucket()
    put = maker.put(bucket, b"k", is_async=True)
    store.run(maker.user(), bucket, maker.accept(put))
    found = list(store.writes.audit)
    view = store.tables.open()
    rows = load_rows(view, footprint([put]), clock_us=store.clock_us, limits=store.limits)
    return [*found, *apply_failed(rows, [put], "NoSuchBucket").audit]


def test_records_of_asynchronous_uploads_are_as_declared() -> None:
    found = async_records()
    for record in found:
        assert_published_as_declared(record)
    assert b"fileflux.object.refused" in encode_record(found[-1])


async def salvaged_records() -> list[AuditRecord]:
    """What a salvage writes of small and large objects, and of itself."""
    uploads = Uploads()
    uploads.put((b"a", b"one"), (b"b", b"two"))
    uploads.put_large(b"c", b"first", b"second")
    told = await salvage(uploads.held)
    return [decode_record(one.payload) for one in await records_of(told.reader)]


async def test_records_of_a_salvage_are_as_declared() -> None:
    found = await salvaged_records()
    for record in found:
        assert_published_as_declared(record)
    assert found[-1].operation == SALVAGE or found[0].operation == SALVAGE
    assert any(record.facts.get("salvaged") for record in found)


async def restored_records() -> list[AuditRecord]:
    """A key that came back, one that was made since and deleted, and the hold meanwhile."""
    world, maker = RestoreWorld(MemoryDatabase()), Maker()
    bucket = maker.bucket()
    await write(world.database, maker.user(), bucket, maker.put(bucket, b"k"))
    await number(world.database, world.reader)
    then = len(await world.records())
    await write(world.database, maker.delete(bucket, b"k"), maker.put(bucket, b"newer"))
    await number(world.database, world.reader)
    count = len(await world.records())
    await world.restore("photos", then, deletes_newer=True)
    return [decode_record(one.payload) for one in (await world.records())[count:]]


async def test_records_of_a_restore_and_its_hold_are_as_declared() -> None:
    found = await restored_records()
    for record in found:
        assert_published_as_declared(record)
    assert sum("restored" in record.facts for record in found) == 2


async def test_no_operation_is_left_out_by_these_tests() -> None:
    found = [*account_records(), *async_records(), *await salvaged_records()]
    found += await restored_records()
    storm, store = Storm(random.Random(7376)), Store(limits=TINY)
    store.run(storm.maker.user())
    for _ in range(300):
        store.run(storm.change()[0])
        found += store.writes.audit
        if store.drop_left_behind(storm.maker):
            found += store.writes.audit
    dropped = [record for record in found if record.operation == "DropContent"]
    assert_published_as_declared(dropped[0])
    assert {record.operation for record in found} == set(OPERATION_NAMES)


def test_every_operation_has_a_schema_of_its_facts() -> None:
    """Otherwise a new operation would be published without one."""
    event = orjson.loads(encode_record(account_records()[0]))
    for operation in OPERATION_NAMES:
        event["data"]["operation"] = operation
        event["data"]["facts"] = {}
        assert problems("audit-record", event), operation


def test_the_headers_on_the_topic_are_as_declared() -> None:
    record = account_records()[0]
    message = to_cloudevent(
        encode_record(record),
        position=1,
        stream=SYSTEM_STREAM,
        sequence=1,
        previous_hash=bytes(32),
    )
    headers = {name: value.decode() for name, value in message.headers}
    assert found_wrong(audit_headers(), headers) == []
    assert found_wrong(audit_headers(), {**headers, "ce_position": "1"})


def test_checkpoints_are_as_declared() -> None:
    key = Ed25519PrivateKey.generate()
    said: dict[str, Any] = {"stream": "main", "chain_hash": bytes(32), "at_us": AT_US}
    first = sign_next(key, None, position=0, **said)
    for one in (first, sign_next(key, first, position=1 << 40, **said)):
        assert problems("checkpoint", encode_checkpoint(one)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "not an id"),
        (("data", "actor", "user_id"), 5),
        (("data", "facts", "undeclared"), 1),
        (("data", "effects", 0, "row", "name"), None),
        (("data", "version"), 2),
        (("time",), "2026-01-01T00:00:00+01:00"),
    ],
)
def test_what_is_not_as_declared_is_found(path: tuple[Any, ...], value: object) -> None:
    """The checks above can fail."""
    event = orjson.loads(encode_record(account_records()[0]))
    place = event
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problems("audit-record", event)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("type",), "fileflux.never.heard_of"),
        (("data", "operation"), "NeverHeardOf"),
        (("data", "effects", 0, "table"), "tables"),
        (("time",), "2026-13-01T00:00:00Z"),
        (("source",), "/buckets/a b"),
        (("data", "key_base64"), "not base64"),
    ],
)
def test_what_a_plain_validator_only_notes_is_checked(path: tuple[Any, ...], value: object) -> None:
    """A value that is not declared as known, a time that is none, bytes that are not base64."""
    event = orjson.loads(encode_record(account_records()[2]))
    assert problems("audit-record", event) == []
    place = event
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problems("audit-record", event)
