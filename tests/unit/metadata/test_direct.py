"""What a direct batch's caller is told stays true, also of a commit that nobody heard of."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from tests.model.metadata_changes import Maker

from fileflux.core.changes import CreateKey, CreateUser
from fileflux.core.clock import ManualClock
from fileflux.core.errors import MetadataBusy
from fileflux.core.ids import UploadId, UserId
from fileflux.metadata.direct import DirectWriter
from fileflux.metadata.memory import MemoryDatabase, _Ambiguous
from fileflux.metadata.memory_tables import MemoryView, SerializationFailure
from fileflux.metadata.memory_tx import MemoryTransaction
from fileflux.metadata.ports import Transaction

T = TypeVar("T")


class SlowToCommit(MemoryDatabase):
    """The first commit is on its way while its connection is gone: a disk that stands still."""

    on_its_way: MemoryView | None = None

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        if self.on_its_way is not None:
            return await super()._attempt(work)
        self.on_its_way = self.tables.open()
        await work(MemoryTransaction(self.on_its_way, self.faults, self.clock))
        raise _Ambiguous


async def test_a_change_that_was_called_off_does_not_apply_later() -> None:
    database, maker = SlowToCommit(ManualClock()), Maker(1)
    writer = DirectWriter(database, rng=random.Random(1), deadline_s=0.0)

    with pytest.raises(MetadataBusy):
        await writer.submit(maker.user())

    assert database.on_its_way is not None
    with pytest.raises(SerializationFailure):
        database.on_its_way.commit()


async def test_a_change_is_made_again_when_the_first_commit_can_no_longer_apply() -> None:
    database, maker = SlowToCommit(ManualClock()), Maker(1)
    writer = DirectWriter(database, rng=random.Random(1))

    assert (await writer.submit(maker.user())).ok
    assert len(database.tables.rows("users")) == 1
    assert len(database.tables.rows("audit_pending")) == 1


class DiesBeforeACommit(MemoryDatabase):
    """The process dies before commit number `deadly`, counted from 0."""

    deadly = 0
    commits = 0

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        if self.commits == self.deadly:
            raise asyncio.CancelledError
        self.commits += 1
        return await super()._attempt(work)


@pytest.mark.parametrize("deadly", [0, 1, 2])
async def test_changes_that_belong_together_are_there_together_or_not_at_all(deadly: int) -> None:
    database, maker = DiesBeforeACommit(ManualClock()), Maker(1)
    database.deadly = deadly
    writer, user = DirectWriter(database, rng=random.Random(1)), maker.user()
    key = make_key(maker, user)
    with contextlib.suppress(asyncio.CancelledError):
        outcomes = await writer.submit_together(user, key)
        assert [outcome.ok for outcome in outcomes] == [True, True]

    counts = [len(database.tables.rows(table)) for table in ("users", "access_keys")]
    assert counts == ([0, 0] if deadly == 0 else [1, 1])


async def test_a_group_is_answered_in_its_order_beside_others_and_never_parted_by_poison() -> None:
    database, maker = MemoryDatabase(ManualClock()), Maker(1)
    writer = DirectWriter(database, rng=random.Random(1))
    users = [maker.user(f"u{n}", UserId(maker.id())) for n in range(3)]
    poison = replace(maker.user("poison", UserId(maker.id())), name=None)  # type: ignore[arg-type]
    answers = await asyncio.gather(
        writer.submit_together(users[0], make_key(maker, users[0])),
        writer.submit_together(poison, make_key(maker, poison)),
        writer.submit(users[1]),
        writer.submit_together(users[1], make_key(maker, users[1])),
        writer.submit_together(users[2], make_key(maker, users[2])),
        return_exceptions=True,
    )

    assert isinstance(answers[1], Exception)
    assert answers[2].ok  # type: ignore[union-attr]
    statuses = [[o.status for o in answers[n]] for n in (0, 3, 4)]  # type: ignore[union-attr]
    assert statuses == [["ok", "ok"], ["EntityAlreadyExists", "ok"], ["ok", "ok"]]
    assert len(database.tables.rows("users")) == 3
    assert len(database.tables.rows("access_keys")) == 3


def make_key(maker: Maker, user: CreateUser) -> CreateKey:
    upload_id = UploadId(maker.id())
    return CreateKey(
        upload_id=upload_id,
        actor=user.actor,
        at_us=user.at_us,
        user_id=user.user_id,
        access_key=upload_id.hex(),
        secret=b"sealed",
    )
