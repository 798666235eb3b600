"""The door: each reason to say 503 before a body is read, and that what entered leaves."""

import asyncio
import random
from dataclasses import dataclass

import pytest

from fileflux.core.clock import ManualClock
from fileflux.core.errors import SlowDown
from fileflux.core.ids import SealId, new_id
from fileflux.core.model import CHUNK_SIZE_BYTES, KIB, MIB, SizeClass, StorageClass
from fileflux.ingest.admission import Admission, MemoryBudget, upload_memory
from fileflux.ingest.seals import OpenSeal, OpenSeals

STANDARD = StorageClass("STANDARD", 3, 2)
OTHER = StorageClass("OTHER", 1, 1)
RNG = random.Random(3)


@dataclass(slots=True)
class Staged:
    used_bytes: int = 0
    budget_bytes: int = 100 * MIB


@dataclass(slots=True)
class Heard:
    silent_s: float = 0.0


@dataclass(slots=True)
class Door:
    admission: Admission
    staged: Staged
    heard: Heard
    seals: OpenSeals
    clock: ManualClock

    async def is_open(self, size: int | None = 1, storage_class: StorageClass = STANDARD) -> bool:
        try:
            async with self.admission.upload(size, storage_class):
                return True
        except SlowDown:
            return False


def door(*, requests_max: int = 10, memory_bytes: int = 64 * MIB) -> Door:
    staged, heard, seals, clock = Staged(), Heard(), OpenSeals(), ManualClock()
    admission = Admission(
        staging=staged,
        seals=seals,
        listener=heard,
        clock=clock,
        memory=MemoryBudget(memory_bytes),
        requests_max=requests_max,
    )
    return Door(admission, staged, heard, seals, clock)


async def test_what_entered_leaves_whatever_happens_inside() -> None:
    it = door()

    async def upload() -> None:
        async with it.admission.upload(1_000, STANDARD):
            assert it.admission.request_count == 1
            assert it.admission.memory.used_bytes == upload_memory(1_000)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await upload()

    assert it.admission.request_count == 0
    assert it.admission.memory.used_bytes == 0


async def test_more_uploads_than_the_limit_are_refused() -> None:
    it = door(requests_max=2)
    async with it.admission.upload(1, STANDARD), it.admission.upload(1, STANDARD):
        assert not await it.is_open()

    assert await it.is_open()


async def test_uploads_together_never_take_more_memory_than_the_budget() -> None:
    it = door(requests_max=10_000, memory_bytes=16 * MIB)
    entered = 0
    for size in (MIB, 100 * MIB, None) * 10:
        try:
            it.admission.enter(size, STANDARD)
            entered += 1
        except SlowDown:
            break

    assert entered > 1
    assert it.admission.memory.used_bytes <= 16 * MIB
    assert upload_memory(5 * 1024 * MIB) == upload_memory(None) < 6 * MIB
    assert upload_memory(4 * KIB) < 128 * KIB


async def test_a_staging_without_room_for_the_next_bundle_refuses() -> None:
    it = door()
    it.staged.used_bytes = it.staged.budget_bytes - CHUNK_SIZE_BYTES

    assert await it.is_open(None)
    it.staged.used_bytes += 10
    assert not await it.is_open(None)
    assert not await it.is_open(1_000 * MIB)
    assert await it.is_open(1_000)


async def test_a_consumer_that_does_not_come_round_refuses() -> None:
    it = door()
    it.heard.silent_s = 5.1

    assert not await it.is_open()


async def test_a_seal_unsettled_for_five_seconds_refuses_its_class_only() -> None:
    it = door()
    seal = OpenSeal(
        seal_id=SealId(new_id(RNG)),
        storage_class=STANDARD,
        size_class=SizeClass.SMALL,
        settled=asyncio.get_running_loop().create_future(),
    )
    it.seals.open(seal)
    it.clock.advance(60)
    assert await it.is_open(), "a large upload that still streams is not late"
    it.seals.mark_emitted(seal, record=b"", now_s=it.clock.monotonic_s())
    it.clock.advance(5.1)

    assert not await it.is_open()
    assert await it.is_open(1, OTHER)
    it.seals.close(seal)
    assert await it.is_open()
