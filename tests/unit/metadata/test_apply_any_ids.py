"""Whatever the ids: every change gets an outcome, in its order, and nothing raises."""

import random
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.model.metadata_changes import ACTOR, AT_US, NODES
from tests.model.metadata_store import Store

from fileflux.core.changes import (
    AbortMultipart,
    AcceptAsync,
    Change,
    CompletedPart,
    CompleteMultipart,
    ConfigureBucket,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateHold,
    CreateKey,
    CreateMultipart,
    CreateUser,
    DeleteBucket,
    DeleteKey,
    DeleteNewer,
    DeleteObject,
    DeleteUser,
    DropContent,
    PastContent,
    PastPart,
    PutObject,
    PutPart,
    ReleaseHold,
    RestoreVersion,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.model import Chunk, Manifest, ObjectMeta, WriteConditions
from fileflux.events.wire import CHANGE_KINDS
from fileflux.metadata.audit_facts import OPERATIONS

IDS = [bytes((number,)) * 16 for number in range(1, 3)]
"""So few that uploads, buckets, versions, contents and users meet under one id all the time."""
ETAGS = ("", "abc", "abc", "abc", "*", "not hex")
CHECKSUMS: tuple[dict[str, str], ...] = (
    {},
    {"CRC32": "AAAAAA=="},
    {"CRC64NVME": "no base64"},
    {"SHA256": ""},
    {"MD4": "x"},
)


class Draw:
    """Fields by their names, from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def change(self, kind: type[Change]) -> Change:
        given: dict[str, Any] = {
            "upload_id": self.id(), "actor": ACTOR, "at_us": AT_US, "bucket_id": self.id(),
            "bucket": self.pick(("red", "blue")), "key": self.pick((b"a", b"\xff")),
            "size": self.rng.randrange(100), "etag": self.pick(ETAGS), "meta": self.meta(),
            "manifest": self.manifest(), "storage_class": "standard",
            "conditions": self.conditions(), "is_async": self.pick((True, False)),
            "multipart_id": self.id(), "part_number": self.rng.randrange(0, 3),
            "source_bucket_id": self.id(), "source_bucket": "red", "source_key": b"a",
            "source_version": self.id(), "content_id": self.id(),
            "checksum_algorithm": self.pick(("", "CRC32", "SHA256", "crc64nvme", "MD4")),
            "checksum_type": self.pick(("", "FULL_OBJECT", "COMPOSITE", "other")),
            "parts": tuple(self.part() for _ in range(self.rng.randrange(3))),
            "checksums": self.pick(CHECKSUMS), "object_size": self.pick((None, 0, 5)),
            "owner_id": self.id(), "config": {},
            "entries": self.pick(({}, {"class": 5}, {"x": None})),
            "user_id": self.id(), "name": self.pick(("ada", "bob")), "password_hash": "",
            "is_root": False, "access_key": self.pick(("K1", "K2")), "secret": b"s",
            "active": False, "node_id": NODES[0], "intent": self.pick(("drain", "fly")),
            "weight": 0.5, "contents": tuple(self.content() for _ in range(self.rng.randrange(3))),
            "seen_version": self.pick((None, self.id())), "past_version": self.id(),
            "past_position": 1, "after_stamp": self.rng.randrange(1 << 50), "hold_id": self.id(),
            "kind": "operator", "reason": "audit", "from_position": 1, "from_us": 0,
            "until_us": 1_767_225_600_000_000 + self.rng.randrange(-9, 1 << 42),
        }  # fmt: skip
        return kind(**{name: given[name] for name in kind.__dataclass_fields__ if name in given})

    def id(self) -> Any:
        return self.rng.choice(IDS)

    def pick(self, choices: Any) -> Any:
        return self.rng.choice(choices)

    def meta(self) -> ObjectMeta:
        return ObjectMeta(checksums=self.pick(CHECKSUMS))

    def manifest(self) -> Manifest:
        size = self.rng.choice((0, 1, 6 << 20))
        count = self.rng.randrange(3)
        return Manifest(tuple(Chunk(self.id(), self.rng.randrange(3), size) for _ in range(count)))

    def part(self) -> CompletedPart:
        return CompletedPart(self.rng.randrange(0, 3), self.pick(ETAGS), self.pick(CHECKSUMS))

    def content(self) -> PastContent:
        parts = tuple(
            PastPart(self.rng.randrange(0, 3), 5, "e", ObjectMeta(), self.manifest(), self.id(), 7)
            for _ in range(self.rng.randrange(2))
        )
        return PastContent(self.id(), self.manifest(), parts)

    def conditions(self) -> WriteConditions:
        values = (None, None, None, "*", "abc")
        return WriteConditions(self.pick(values), self.pick(values))


KINDS: tuple[type[Change], ...] = (
    AbortMultipart, AcceptAsync, CompleteMultipart, ConfigureBucket, CopyObject, CopyPart,
    CreateBucket, CreateHold, CreateKey, CreateMultipart, CreateUser, DeleteBucket, DeleteKey,
    DeleteNewer, DeleteObject, DeleteUser, DropContent, PutObject, PutPart, ReleaseHold,
    RestoreVersion, SetKeyActive, SetNodeIntent, SetPassword,
)  # fmt: skip


def test_every_kind_of_change_is_drawn() -> None:
    assert set(KINDS) == set(CHANGE_KINDS.values())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_every_change_has_an_outcome_and_its_record_can_be_stored(seed: int) -> None:
    draw, store = Draw(random.Random(seed)), Store()
    store.run(draw.change(CreateUser))
    usual = (CreateBucket, PutObject, CreateMultipart, PutPart, CopyObject, CopyPart) * 2
    for _ in range(60):
        kinds = draw.rng.choices((*KINDS, *usual, CompleteMultipart), k=draw.rng.choice((1, 1, 4)))
        changes = [draw.change(kind) for kind in kinds]
        outcomes = store.run(*changes)

        assert [o.upload_id for o in outcomes] == [c.upload_id for c in changes]
        assert all(outcome.status for outcome in outcomes)
        for change, outcome in zip(changes, outcomes, strict=True):
            event(f"{type(change).__name__}: {outcome.status}")
    assert {record.operation for record in store.records()} <= set(OPERATIONS.values())
