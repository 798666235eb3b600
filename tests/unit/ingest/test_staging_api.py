"""Staged bundles over HTTP: who may fetch them, and which bytes come."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import uvicorn

from fileflux.core.clock import SystemClock
from fileflux.core.ids import BundleId, Incarnation, new_id
from fileflux.core.internal_auth import HEADER, sign
from fileflux.core.model import MIB
from fileflux.core.node_client import NodeClient
from fileflux.core.ops import EmbeddedServer
from fileflux.ingest.staging import MemoryHost, MemoryStaging, StagedReader
from fileflux.ingest.staging_api import StagingApi

RNG = random.Random(11)
SECRET = b"the secret of the cluster"
CLOCK = SystemClock()
DATA = RNG.randbytes(2 * MIB + 77)


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    bundle_id: BundleId
    staging: MemoryStaging
    http: aiohttp.ClientSession

    @property
    def path(self) -> str:
        return f"/v1/staging/{self.staging.incarnation.hex()}/{self.bundle_id.hex()}"

    async def get(
        self, path: str | None = None, *, secret: bytes = SECRET, **headers: str
    ) -> tuple[int, bytes]:
        target = path or self.path
        signature = sign(secret, method="GET", target=target, now_us=CLOCK.now_us())
        async with self.http.get(
            self.url + target, headers={HEADER: signature, **headers}
        ) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    host, bundle_id = MemoryHost(), BundleId(new_id(RNG))
    app = StagingApi(host, secret=SECRET, clock=CLOCK).app()
    server = EmbeddedServer(
        uvicorn.Config(app, host="127.0.0.1", port=0, access_log=False, log_config=None)
    )
    await server.start()
    url = f"http://127.0.0.1:{server.port}"
    staging = MemoryStaging(host, Incarnation(new_id(RNG)), base_url=url)
    await staging.create(bundle_id, [DATA])
    async with aiohttp.ClientSession() as http:
        yield Served(url, bundle_id, staging, http)
    await server.stop()


async def test_a_node_pulls_the_bundle_whole_by_its_url(served: Served) -> None:
    client, sink = NodeClient(SECRET, CLOCK), Sink()
    await client.pull(await served.staging.source_url(served.bundle_id), sink)
    await client.close()

    assert sink.data == DATA


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-1000", 5, 1001),
        ("bytes=1048576-", 1048576, len(DATA)),
        ("bytes=-10", len(DATA) - 10, len(DATA)),
        ("bytes=100-99999999", 100, len(DATA)),
        ("bytes=-99999999", 0, len(DATA)),
    ],
)
async def test_a_range_is_answered_with_its_bytes(
    served: Served, wanted: str, start: int, end: int
) -> None:
    assert await served.get(Range=wanted) == (206, DATA[start:end])


@pytest.mark.parametrize(
    "text", ["bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-"]
)
async def test_a_range_that_is_none_gives_everything(served: Served, text: str) -> None:
    assert await served.get(Range=text) == (200, DATA)


@pytest.mark.parametrize("text", [f"bytes={len(DATA)}-", "bytes=-0"])
async def test_a_range_beyond_the_end_is_416(served: Served, text: str) -> None:
    assert (await served.get(Range=text))[0] == 416


async def test_without_the_clusters_signature_nothing_is_served(served: Served) -> None:
    assert await served.get(secret=b"another secret") == (403, b"")
    async with served.http.get(served.url + served.path) as answer:
        assert answer.status == 403
    other = served.path[:-1] + ("0" if served.path[-1] != "0" else "1")
    signature = sign(SECRET, method="GET", target=other, now_us=CLOCK.now_us())
    async with served.http.get(served.url + served.path, headers={HEADER: signature}) as answer:
        assert answer.status == 403, "a token for one bundle is none for another"


async def test_what_is_not_staged_or_no_id_is_404(served: Served) -> None:
    prefix = f"/v1/staging/{served.staging.incarnation.hex()}/"
    for name in ("0" * 32, "zz", "..", "%2e%2e%2fpasswd"):
        assert (await served.get(prefix + name))[0] in (403, 404)
    await served.staging.delete([served.bundle_id])
    assert (await served.get())[0] == 404


@pytest.mark.parametrize("sends_before_it_fails", [0, 1, 2])
async def test_a_node_that_goes_at_any_moment_leaves_no_open_bundle(
    sends_before_it_fails: int,
) -> None:
    host, bundle_id = OpenBundles(), BundleId(new_id(RNG))
    staging = MemoryStaging(host, Incarnation(new_id(RNG)))
    await staging.create(bundle_id, [DATA])
    path = f"/v1/staging/{staging.incarnation.hex()}/{bundle_id.hex()}"
    token = sign(SECRET, method="GET", target=path, now_us=CLOCK.now_us())
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(HEADER.lower().encode(), token.encode())],
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: object) -> None:
        sent.append(message)
        if len(sent) > sends_before_it_fails:
            raise OSError("the node has gone")

    app = StagingApi(host, secret=SECRET, clock=CLOCK).app()
    with pytest.raises((OSError, ExceptionGroup)):
        await app(scope, receive, send)

    assert (host.opened, host.open_now) == (1, 0)


class OpenBundles(MemoryHost):
    """Counts its readers, as a directory's host has descriptors."""

    opened = 0
    open_now = 0

    async def open(self, incarnation: Incarnation, bundle_id: BundleId) -> StagedReader:
        reader = await super().open(incarnation, bundle_id)
        self.opened += 1
        self.open_now += 1
        return CountedReader(self, reader)


class CountedReader:
    def __init__(self, host: OpenBundles, reader: StagedReader) -> None:
        self._host = host
        self._reader = reader
        self.size = reader.size

    async def read(self, start: int, length: int) -> bytes:
        return await self._reader.read(start, length)

    def close(self) -> None:
        self._host.open_now -= 1


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    def begin(self, length: int) -> memoryview:
        self.data = bytearray(length)
        return memoryview(self.data)

    def arrived(self, count: int) -> None:
        """Nothing to verify here."""
