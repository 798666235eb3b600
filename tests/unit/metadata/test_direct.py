"""What a direct batch's caller is told stays true, also of a commit that nobody heard of."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from tests.model.metadata_changes import Maker

from fileflux.core.clock import ManualClock
from fileflux.core.errors import MetadataBusy
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
