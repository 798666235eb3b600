"""One suite for every archive: what the archiver and readers rely on (`metadata/archive.py`)."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from fileflux.core import failpoints
from fileflux.metadata.archive import (
    CHECKPOINTS,
    SEGMENTS,
    AlreadyArchived,
    Archive,
    ArchiveUnavailable,
    NotArchived,
    Span,
    next_object,
    span_of,
)
from fileflux.metadata.archive_directory import ABANDONED_AFTER_S, DirectoryArchive
from fileflux.metadata.archive_memory import MemoryArchive
from fileflux.metadata.archive_s3 import S3Archive, open_s3_archive

BUCKET = "audit-archive"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """Somebody else's S3."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@asynccontextmanager
async def bucket_archive(url: str, prefix: str, bucket: str = BUCKET) -> AsyncIterator[S3Archive]:
    keys = {"access_key": "access", "secret_key": "secret"}
    opened = open_s3_archive(bucket, prefix, endpoint=url, region="us-east-1", **keys)
    async with opened as archive:
        await archive._client.create_bucket(Bucket=BUCKET)
        yield archive


@pytest.fixture(params=["memory", "directory", "s3"])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Archive]:
    if request.param == "memory":
        yield MemoryArchive()
    elif request.param == "directory":
        yield DirectoryArchive(tmp_path / "mount" / "archive")
    else:
        url = request.getfixturevalue("moto_url")
        async with bucket_archive(url, f"{tmp_path.name}/") as made:
            yield made


async def test_an_object_comes_back_as_it_was_put(archive: Archive) -> None:
    body = os.urandom(300_000)
    await archive.put("main/segments/one.jsonl.gz", body)

    assert await archive.get("main/segments/one.jsonl.gz") == body


async def test_what_was_never_put_is_not_there(archive: Archive) -> None:
    with pytest.raises(NotArchived):
        await archive.get("main/segments/none.jsonl.gz")
    assert await archive.names("main/segments/") == []


async def test_an_object_is_never_replaced(archive: Archive) -> None:
    await archive.put("main/segments/one.jsonl.gz", b"first")
    with pytest.raises(AlreadyArchived):
        await archive.put("main/segments/one.jsonl.gz", b"second")

    assert await archive.get("main/segments/one.jsonl.gz") == b"first"


async def test_of_many_that_write_one_name_at_once_one_wins(archive: Archive) -> None:
    bodies = [b"%d" % number * 1_000 for number in range(5)]
    puts = (archive.put("main/segments/one.jsonl.gz", body) for body in bodies)
    ends = await asyncio.gather(*puts, return_exceptions=True)

    winners = [body for body, end in zip(bodies, ends, strict=True) if end is None]
    assert [await archive.get("main/segments/one.jsonl.gz")] == winners
    assert [type(end) for end in ends if end is not None] == [AlreadyArchived] * 4


async def test_names_are_listed_in_order_from_any_of_them_on(archive: Archive) -> None:
    names = [Span(last, last - 9).name("main", SEGMENTS) for last in (100, 20, 10, 1_000)]
    for name in (*names, "main/checkpoints/other.jsonl", "second/segments/x.jsonl.gz"):
        await archive.put(name, b"body")

    found = await archive.names("main/segments/")
    assert found == sorted(names)
    assert await archive.names("main/segments/", limit=2) == found[:2]
    assert await archive.names("main/segments/", after=found[1]) == found[2:]
    assert [span_of(name) for name in found[:2]] == [Span(10, 1), Span(20, 11)]


async def test_one_name_leads_to_whatever_holds_a_position(archive: Archive) -> None:
    for span in (Span(10, 1), Span(14, 5), Span(30, 15)):
        await archive.put(span.name("main", SEGMENTS), b"body")
    await archive.put(Span(3, 1).name("main", CHECKPOINTS), b"body")

    async def found(position: int) -> Span | None:
        name = await next_object(archive, "main", SEGMENTS, position)
        return None if name is None else span_of(name)

    assert [await found(n) for n in (1, 10, 11, 14, 15, 30)] == [
        *(Span(10, 1), Span(10, 1), Span(14, 5), Span(14, 5), Span(30, 15), Span(30, 15)),
    ]
    assert await found(31) is None


async def test_names_that_are_not_ours_lead_nowhere(archive: Archive) -> None:
    await archive.put("main/segments/upto-99999999999999999999-copy.tmp", b"someone's")

    assert await next_object(archive, "main", SEGMENTS, 1) is None


async def test_a_write_that_was_cut_leaves_nothing_that_a_reader_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are on the disk and the process ends before they have their name."""
    archive = DirectoryArchive(tmp_path)

    def end(name: str) -> None:
        raise failpoints.FailpointError(name)

    monkeypatch.setattr("fileflux.metadata.archive_directory.failpoint", end)
    with pytest.raises(failpoints.FailpointError):
        await archive.put("main/segments/one.jsonl.gz", b"whole")
    (tmp_path / "main/segments/.one.jsonl.gz.0000.part").write_bytes(b"of a killed process")

    assert await archive.names("main/segments/") == []
    with pytest.raises(NotArchived):
        await archive.get("main/segments/one.jsonl.gz")


async def test_what_a_killed_writer_left_is_removed_a_day_later(tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path)
    await archive.put("main/segments/one.jsonl.gz", b"whole")
    old, young = (tmp_path / f"main/segments/.{age}.gz.0.part" for age in ("old", "young"))
    for part in (old, young):
        part.write_bytes(b"cut")
    os.utime(old, (0, old.stat().st_mtime - ABANDONED_AFTER_S - 60))
    await archive.put("main/segments/two.jsonl.gz", b"whole")

    assert not old.exists()
    assert young.exists()


async def test_a_directory_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "main").write_text("a file where a directory should be")

    with pytest.raises(ArchiveUnavailable):
        await DirectoryArchive(tmp_path).put("main/segments/one.jsonl.gz", b"body")


async def test_an_s3_that_does_not_answer_is_unavailable(moto_url: str) -> None:
    async with bucket_archive(moto_url, "", bucket="missing") as archive:
        with pytest.raises(ArchiveUnavailable, match="NoSuchBucket"):
            await archive.put("main/segments/one.jsonl.gz", b"body")
        with pytest.raises(ArchiveUnavailable, match="NoSuchBucket"):
            await archive.names("main/segments/")


async def test_a_probe_is_left_and_removed(moto_url: str) -> None:
    async with bucket_archive(moto_url, "probed/") as archive:
        probe = await archive.leave_probe()
        assert probe is not None
        assert probe.bucket == BUCKET
        assert await archive.names("probes/") == [probe.key.removeprefix("probed/")]
        await probe.remove()
        assert await archive.names("probes/") == []


async def test_an_answer_that_was_cut_is_unavailable_and_no_object() -> None:
    """The connection ends in the middle of the body."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    keys = {"access_key": "access", "secret_key": "secret"}
    url = f"http://{host}:{port}"
    opened = open_s3_archive("b", "", endpoint=url, region="us-east-1", **keys)
    async with server, opened as archive:
        with pytest.raises(ArchiveUnavailable):
            await archive.get("main/segments/one.jsonl.gz")
