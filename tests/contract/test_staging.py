"""One suite for every staging: in memory, in a directory, in an S3 bucket."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from fileflux.core.clock import SystemClock
from fileflux.core.errors import NoSuchBundle, SlowDown
from fileflux.core.ids import BundleId, Incarnation, SealId, new_id
from fileflux.core.model import MIB
from fileflux.core.node_client import NodeClient
from fileflux.ingest.staging import (
    Inheritance,
    MemoryHost,
    MemoryStaging,
    SealNotes,
    Staging,
    StagingHost,
)
from fileflux.ingest.staging_bucket import Bucket, open_bucket
from fileflux.ingest.staging_files import FileStaging, open_staging
from fileflux.ingest.staging_host import FileHost
from fileflux.ingest.staging_s3 import S3Host, start_s3_staging

RNG = random.Random(7)
BUDGET = 20 * MIB
HEADER = b"H" * 96


class Full(Staging, SealNotes, Protocol):
    """What every staging offers."""


@dataclass(slots=True)
class Lives:
    """Makes incarnations on one host, and ends them as a crash would."""

    host: StagingHost
    make: Callable[[Incarnation], Awaitable[Full]]
    kill: Callable[[Incarnation], None]

    async def start(self) -> tuple[Incarnation, Full]:
        incarnation = Incarnation(new_id(RNG))
        return incarnation, await self.make(incarnation)


def memory_lives() -> Lives:
    host = MemoryHost()

    async def make(incarnation: Incarnation) -> Full:
        return MemoryStaging(host, incarnation, budget_bytes=BUDGET)

    return Lives(host, make, host.kill)


def directory_lives(root: Path) -> Lives:
    url = "http://127.0.0.1:1"
    alive: dict[Incarnation, FileStaging] = {}

    async def make(incarnation: Incarnation) -> Full:
        made = open_staging(root, incarnation, budget_bytes=BUDGET, base_url=url)
        alive[incarnation] = made
        return made

    root.mkdir()
    return Lives(FileHost(root, base_url=url), make, lambda i: alive.pop(i).close())


def bucket_lives(bucket: Bucket, age: Callable[[str, float], None]) -> Lives:
    clock = SystemClock()

    async def make(incarnation: Incarnation) -> Full:
        return await start_s3_staging(bucket, incarnation, budget_bytes=BUDGET, clock=clock)

    return Lives(S3Host(bucket, clock), make, lambda i: age(i.hex(), 65))


@pytest.fixture(params=["memory", "directory", "bucket"])
async def lives(
    request: pytest.FixtureRequest, tmp_path: Path, fake_s3: Any
) -> AsyncIterator[Lives]:
    if request.param == "memory":
        yield memory_lives()
    elif request.param == "directory":
        yield directory_lives(tmp_path / "root")
    else:
        keys = {"access_key": "access", "secret_key": "secret"}
        async with open_bucket("staging", endpoint=fake_s3.url, region="eu-1", **keys) as bucket:
            yield bucket_lives(bucket, fake_s3.age)


def bundle_id() -> BundleId:
    return BundleId(new_id(RNG))


async def read_all(host: StagingHost, incarnation: Incarnation, bundle: BundleId) -> bytes:
    reader = await host.open(incarnation, bundle)
    try:
        return await reader.read(0, reader.size)
    finally:
        reader.close()


@pytest.mark.parametrize("size", [1, 1_000, 300_000, 3 * MIB])
@pytest.mark.parametrize("sync", [False, True])
async def test_what_was_staged_is_read_back_byte_for_byte(
    lives: Lives, size: int, sync: bool
) -> None:
    incarnation, staging = await lives.start()
    data, bundle = RNG.randbytes(size), bundle_id()
    await staging.create(bundle, [data[: size // 3], b"", data[size // 3 :]], sync=sync)

    assert await read_all(lives.host, incarnation, bundle) == data
    assert staging.used_bytes == size


async def test_many_parts_are_joined_in_order(lives: Lives) -> None:
    incarnation, staging = await lives.start()
    bundle, parts = bundle_id(), [RNG.randbytes(700) for _ in range(1_500)]
    await staging.create(bundle, parts)

    assert await read_all(lives.host, incarnation, bundle) == b"".join(parts)


async def test_a_streamed_bundle_gets_its_header_last(lives: Lives) -> None:
    incarnation, staging = await lives.start()
    bundle, data = bundle_id(), RNG.randbytes(3 * MIB + 5)
    file = staging.begin(bundle)
    await file.append([bytes(len(HEADER)), data[:MIB]])
    await file.append([data[MIB:]])
    with pytest.raises(NoSuchBundle):
        await lives.host.open(incarnation, bundle)
    await file.finish(header=HEADER, tail=b"tail", sync=True)

    assert await read_all(lives.host, incarnation, bundle) == HEADER + data + b"tail"
    assert staging.used_bytes == len(HEADER) + len(data) + 4
    await file.abandon()
    assert staging.used_bytes > 0, "a finished bundle is not abandoned"


async def test_an_abandoned_bundle_leaves_nothing(lives: Lives) -> None:
    incarnation, staging = await lives.start()
    bundle = bundle_id()
    file = staging.begin(bundle)
    await file.append([bytes(MIB)])
    await file.abandon()
    await file.abandon()

    assert staging.used_bytes == 0
    with pytest.raises(NoSuchBundle):
        await lives.host.open(incarnation, bundle)


async def test_a_bundle_abandoned_before_its_first_byte_is_no_error(lives: Lives) -> None:
    _, staging = await lives.start()
    await staging.begin(bundle_id()).abandon()

    assert staging.used_bytes == 0


async def test_a_write_that_is_cancelled_leaves_nothing_once_it_ended(lives: Lives) -> None:
    incarnation, staging = await lives.start()
    bundle = bundle_id()
    file = staging.begin(bundle)
    writing = asyncio.create_task(file.append([bytes(8 * MIB)]))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await file.abandon()

    async with asyncio.timeout(10):
        while staging.used_bytes:
            await asyncio.sleep(0.01)
    with pytest.raises(NoSuchBundle):
        await lives.host.open(incarnation, bundle)


async def test_over_the_budget_is_slow_down_and_changes_nothing(lives: Lives) -> None:
    _, staging = await lives.start()
    kept = bundle_id()
    await staging.create(kept, [bytes(BUDGET - 10)])
    with pytest.raises(SlowDown):
        await staging.create(bundle_id(), [bytes(11)])
    file = staging.begin(bundle_id())
    with pytest.raises(SlowDown):
        await file.append([bytes(11)])
    await file.abandon()

    assert staging.used_bytes == BUDGET - 10
    await staging.delete([kept])
    await staging.create(bundle_id(), [bytes(11)])


async def test_deleting_gives_room_back_and_twice_is_once(lives: Lives) -> None:
    incarnation, staging = await lives.start()
    bundles = [bundle_id() for _ in range(3)]
    for bundle in bundles:
        await staging.create(bundle, [bytes(1000)])
    await staging.delete([*bundles, bundle_id()])
    await staging.delete(bundles)

    assert staging.used_bytes == 0
    with pytest.raises(NoSuchBundle):
        await lives.host.open(incarnation, bundles[0])


async def test_an_open_reader_keeps_its_bundle_when_that_is_deleted(
    lives: Lives, request: pytest.FixtureRequest
) -> None:
    if isinstance(lives.host, S3Host):
        reason = "a bucket holds nothing open; a node's single GET is whole there all the same"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    incarnation, staging = await lives.start()
    bundle, data = bundle_id(), RNG.randbytes(400_000)
    await staging.create(bundle, [data])
    reader = await lives.host.open(incarnation, bundle)
    await staging.delete([bundle])

    assert await reader.read(100, 300_000) == data[100:300_100]
    assert await reader.read(399_999, 10) == data[-1:]
    reader.close()


async def test_any_worker_serves_any_bundle_by_its_url(lives: Lives) -> None:
    incarnation, staging = await lives.start()
    await lives.start()
    bundle = bundle_id()
    await staging.create(bundle, [b"data"])

    url = await staging.source_url(bundle)
    assert bundle.hex() in url
    assert await read_all(lives.host, incarnation, bundle) == b"data"


async def test_the_living_are_not_adopted(lives: Lives) -> None:
    await lives.start()
    await lives.start()

    assert await lives.host.adopt() is None


async def test_a_dead_incarnation_is_adopted_once_with_bundles_and_notes(lives: Lives) -> None:
    dead, staging = await lives.start()
    living, _ = await lives.start()
    bundle, seal = bundle_id(), SealId(new_id(RNG))
    await staging.create(bundle, [b"data"], sync=True)
    await staging.keep_note(seal, b"the sealed record")
    await staging.keep_note(SealId(new_id(RNG)), b"dropped")
    await staging.begin(bundle_id()).append([b"unfinished"])
    lives.kill(dead)

    heir = await lives.host.adopt()
    assert heir is not None
    assert heir.incarnation == dead != living
    assert list(heir.bundle_ids) == [bundle]
    assert (await heir.read_notes())[seal] == b"the sealed record"
    assert await lives.host.adopt() is None, "one heir only"
    assert await read_all(lives.host, dead, bundle) == b"data", "served all the while"


async def test_notes_are_kept_replaced_and_dropped(lives: Lives) -> None:
    dead, staging = await lives.start()
    first, second = SealId(new_id(RNG)), SealId(new_id(RNG))
    await staging.keep_note(first, b"one")
    await staging.keep_note(first, b"one, again")
    await staging.keep_note(second, b"two")
    await staging.drop_note(second)
    await staging.drop_note(second)
    lives.kill(dead)
    heir = await _adopted(lives)

    assert await heir.read_notes() == {first: b"one, again"}
    await heir.keep_note(second, b"anew")
    await heir.drop_note(first)
    assert await heir.read_notes() == {second: b"anew"}


async def test_a_discarded_inheritance_is_gone(lives: Lives) -> None:
    dead, staging = await lives.start()
    kept, dropped = bundle_id(), bundle_id()
    for bundle in (kept, dropped):
        await staging.create(bundle, [b"data"])
    await staging.begin(bundle_id()).append([b"unfinished"])
    lives.kill(dead)
    heir = await _adopted(lives)
    await heir.delete([dropped])
    assert list(heir.bundle_ids) == [kept]
    await heir.discard()

    with pytest.raises(NoSuchBundle):
        await lives.host.open(dead, kept)
    assert await lives.host.adopt() is None


@pytest.mark.parametrize("name", ["README.seal", "copy of 0.bundle", ".seal", f"{'0' * 31}.bundle"])
async def test_names_that_are_not_ours_do_not_stop_an_inheritance(fake_s3: Any, name: str) -> None:
    keys = {"access_key": "access", "secret_key": "secret"}
    async with open_bucket("staging", endpoint=fake_s3.url, region="eu-1", **keys) as bucket:
        lives = bucket_lives(bucket, fake_s3.age)
        dead, staging = await lives.start()
        note = SealId(new_id(RNG))
        await staging.keep_note(note, b"noted")
        await bucket.put(f"{dead.hex()}/{name}", b"somebody's")
        lives.kill(dead)
        heir = await _adopted(lives)

        assert await heir.read_notes() == {note: b"noted"}
        assert list(heir.bundle_ids) == []


async def _adopted(lives: Lives) -> Inheritance:
    heir = await lives.host.adopt()
    assert heir is not None
    return heir


async def test_a_presigned_url_is_all_a_node_needs(fake_s3: Any) -> None:
    keys = {"access_key": "access", "secret_key": "secret"}
    async with open_bucket("staging", endpoint=fake_s3.url, region="eu-1", **keys) as bucket:
        lives = bucket_lives(bucket, fake_s3.age)
        _, staging = await lives.start()
        bundle, data = bundle_id(), RNG.randbytes(50_000)
        await staging.create(bundle, [data])
        client, sink = NodeClient(b"cluster secret", SystemClock()), Sink()
        await client.pull(await staging.source_url(bundle), sink)
        await client.close()

    assert sink.data == data


async def test_of_two_heirs_of_a_lease_one_wins(fake_s3: Any) -> None:
    keys = {"access_key": "access", "secret_key": "secret"}
    async with open_bucket("staging", endpoint=fake_s3.url, region="eu-1", **keys) as bucket:
        lives = bucket_lives(bucket, fake_s3.age)
        dead, _ = await lives.start()
        lives.kill(dead)
        heirs = await asyncio.gather(*(lives.host.adopt() for _ in range(5)))

    assert len([heir for heir in heirs if heir is not None]) == 1


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    def begin(self, length: int) -> memoryview:
        self.data = bytearray(length)
        return memoryview(self.data)

    def arrived(self, count: int) -> None:
        """Nothing to verify here."""
