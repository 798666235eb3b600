"""What only a directory can get wrong: full disks, short writes, locks."""

import asyncio
import errno
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fileflux.core.errors import SlowDown, Unavailable
from fileflux.core.ids import BundleId, Incarnation, SealId, new_id
from fileflux.ingest import staging_disk
from fileflux.ingest.staging_files import open_staging
from fileflux.ingest.staging_host import FileHost

RNG = random.Random(8)
URL = "http://127.0.0.1:1"


def new_bundle() -> BundleId:
    return BundleId(new_id(RNG))


def files_under(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, SlowDown), (errno.EDQUOT, SlowDown), (errno.EIO, Unavailable)],
)
@pytest.mark.parametrize("size", [100, 1_000_000])
async def test_a_disk_that_fails_leaves_no_file_and_no_debt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], size: int
) -> None:
    staging = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=1 << 24, base_url=URL)

    def fail(_fd: int, _parts: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", fail)
        with pytest.raises(error):
            await staging.create(new_bundle(), [bytes(size)])
        file = staging.begin(new_bundle())
        with pytest.raises(error):
            await file.append([bytes(size)])
        await file.abandon()

    assert staging.used_bytes == 0
    assert files_under(tmp_path) == ["lock"]
    staging.close()


async def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that fills up writes less than asked before it says ENOSPC."""
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: real(fd, [bytes(parts[0])[:1000]]))
    incarnation = Incarnation(new_id(RNG))
    staging = open_staging(tmp_path, incarnation, budget_bytes=1 << 24, base_url=URL)
    bundle, data = new_bundle(), RNG.randbytes(12_345)
    await staging.create(bundle, [data[:50], data[50:7_000], data[7_000:]])

    path = tmp_path / incarnation.hex() / f"{bundle.hex()}.bundle"
    assert path.read_bytes() == data
    staging.close()


async def test_a_disk_that_hangs_is_unavailable_after_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, may_go_on = os.writev, threading.Event()

    def hang(fd: int, parts: list[memoryview]) -> int:
        may_go_on.wait(10)
        return real(fd, parts)

    monkeypatch.setattr(os, "writev", hang)
    monkeypatch.setattr(staging_disk, "IO_DEADLINE_S", 0.05)
    staging = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=1 << 24, base_url=URL)
    with pytest.raises(Unavailable):
        await staging.create(new_bundle(), [bytes(1_000_000)])
    file = staging.begin(new_bundle())
    with pytest.raises(Unavailable):
        await file.append([bytes(1_000_000)])
    await file.abandon()
    may_go_on.set()

    async with asyncio.timeout(10):
        while staging.used_bytes:
            await asyncio.sleep(0.01)
    assert files_under(tmp_path) == ["lock"]
    staging.close()


LIFE = """
import sys
from pathlib import Path
from fileflux.ingest.staging_files import open_staging
open_staging(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), budget_bytes=1, base_url="http://x")
print("alive", flush=True)
sys.stdin.read()
"""


async def test_another_process_is_adopted_when_it_was_killed_and_not_before(
    tmp_path: Path,
) -> None:
    incarnation = new_id(RNG)
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LIFE, str(tmp_path), incarnation.hex()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"alive\n"
    host = FileHost(tmp_path, base_url=URL)
    assert await host.adopt() is None
    other.kill()
    await other.wait()

    heir = await host.adopt()
    assert heir is not None
    assert heir.incarnation == incarnation
    await heir.discard()
    assert names_in(tmp_path) == []


async def test_a_staging_that_is_closed_empty_leaves_nothing_to_inherit(tmp_path: Path) -> None:
    first = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=100, base_url=URL)
    second = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=100, base_url=URL)
    await second.create(new_bundle(), [b"data"])
    first.close()
    second.close()

    assert names_in(tmp_path) == [second.incarnation.hex()]
    heir = await FileHost(tmp_path, base_url=URL).adopt()
    assert heir is not None
    assert len(heir.bundle_ids) == 1


@pytest.mark.parametrize("size", [100, 1_000_000])
async def test_a_bundle_that_cannot_be_deleted_stays_counted_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    staging = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=1 << 24, base_url=URL)
    bundles = [new_bundle() for _ in range(3)]
    for bundle in bundles:
        await staging.create(bundle, [bytes(size)])
    real, stuck = os.unlink, f"{bundles[0].hex()}.bundle"

    def fail(path: str) -> None:
        if path.endswith(stuck):
            raise OSError(errno.EIO, "the disk is ill")
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        await staging.delete(bundles[:2])
        assert files_under(tmp_path) == sorted([stuck, f"{bundles[2].hex()}.bundle", "lock"])
        assert staging.used_bytes == 2 * size, "it is on the disk, and its neighbour is not"

    await staging.delete(bundles[2:])
    assert files_under(tmp_path) == ["lock"]
    assert staging.used_bytes == 0
    staging.close()


async def test_a_deletion_that_nobody_waits_for_gives_its_bytes_back(tmp_path: Path) -> None:
    staging = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=1 << 24, base_url=URL)
    bundle = new_bundle()
    await staging.create(bundle, [bytes(1_000_000)])
    deleting = asyncio.create_task(staging.delete([bundle]))
    await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.gather(deleting, return_exceptions=True)

    async with asyncio.timeout(10):
        while staging.used_bytes:
            await asyncio.sleep(0.01)
    assert files_under(tmp_path) == ["lock"]
    staging.close()


async def test_a_note_that_the_disk_cannot_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=1 << 24, base_url=URL)
    bad, good = SealId(new_id(RNG)), SealId(new_id(RNG))
    for seal_id in (bad, good):
        await staging.keep_note(seal_id, b"a note")
    os.close(staging._lock_fd)  # As its death does.
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        if bad.hex() in path.name:
            raise OSError(errno.EIO, "unreadable")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    inheritance = await FileHost(tmp_path, base_url=URL).adopt()
    assert inheritance is not None

    assert await inheritance.read_notes() == {bad: b"", good: b"a note"}


async def test_foreign_names_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "README").write_text("not ours")

    assert await FileHost(tmp_path, base_url=URL).adopt() is None
    assert names_in(tmp_path) == ["README", "lost+found"]


async def test_what_is_abandoned_before_its_thread_began_leaves_nothing(tmp_path: Path) -> None:
    """Every thread is busy: the write that was given up starts only after it was abandoned."""
    staging = open_staging(tmp_path, Incarnation(new_id(RNG)), budget_bytes=1 << 24, base_url=URL)
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(max_workers=1)
    loop.set_default_executor(pool)
    may_go = threading.Event()
    busy = loop.run_in_executor(None, may_go.wait)
    file = staging.begin(new_bundle())
    writing = asyncio.create_task(file.append([bytes(1000)]))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await file.abandon()
    may_go.set()
    await busy
    await loop.run_in_executor(None, lambda: None)  # Behind the write, in the only thread.
    await asyncio.sleep(0)

    assert files_under(tmp_path) == ["lock"]
    assert staging.used_bytes == 0
    staging.close()
