"""What is measured: PUT and GET of four sizes by 1, 16, 64 clients, HEAD, list, delete, parts."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.bench.load import Measured, Request, connect, fetch, run_load
from tests.bench.signing import Account, signed_request

KIB, MIB = 1 << 10, 1 << 20
SIZES = {"4K": 4 * KIB, "64K": 64 * KIB, "1M": MIB, "64M": 64 * MIB}
PART_BYTES = 16 * MIB
MULTIPART_BYTES = 256 * MIB
LISTED_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each: `seconds` aimed at per cell; counts follow from a short probe."""

    seconds: float
    clients: tuple[int, ...] = (1, 16, 64)
    sizes: tuple[str, ...] = ("4K", "64K", "1M", "64M")
    sign_bodies: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    name: str
    clients: int
    size: int
    measured: Measured
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Of each service, within this cell."""

    def as_json(self) -> dict[str, object]:
        one = self.measured
        return {
            "name": self.name,
            "clients": self.clients,
            "ops_per_s": round(one.ops_per_s, 1),
            "mb_per_s": round(one.ops_per_s * self.size / 1e6, 1),
            "p50_ms": round(one.quantile_ms(0.5), 2),
            "p99_ms": round(one.quantile_ms(0.99), 2),
            "requests": len(one.latencies_s),
            "errors": one.errors,
            "cpu_ms": {name: self._cpu_ms(used) for name, used in self.cpu_s.items()},
        }

    def _cpu_ms(self, cpu_s: float) -> float:
        return round(1000 * cpu_s / max(1, len(self.measured.latencies_s)), 3)


class Bench:
    """Runs the cells one after another against one bucket."""

    def __init__(
        self,
        account: Account,
        address: tuple[str, int],
        bucket: str,
        plan: Plan,
        cpu_s: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._cpu_s = cpu_s
        self._account = account
        self._address = address
        self._bucket = bucket
        self._plan = plan

    async def create_bucket(self, headers: tuple[tuple[str, str], ...] = ()) -> None:
        head = signed_request(self._account, "PUT", f"/{self._bucket}", headers=headers)
        status, body = await fetch(self._address, (head, b""))
        if status != 200:
            raise RuntimeError(f"cannot create {self._bucket}: {status} {body[:300]!r}")

    def put(self, key: str, body: bytes) -> Request:
        """A signed PUT, ready to send."""
        sign = self._plan.sign_bodies
        path = f"/{self._bucket}/{key}"
        return signed_request(self._account, "PUT", path, body=body, sign_body=sign), body

    def _plain(self, method: str, key: str) -> Request:
        return signed_request(self._account, method, f"/{self._bucket}/{key}"), b""

    async def put_and_get(self) -> "list[Row]":
        rows = []
        for size_name in self._plan.sizes:
            for clients in self._plan.clients:
                if size_name == "64M" and clients == 64:
                    continue  # 4 GiB in flight measures the generator's memory.
                rows += await self._cell(size_name, clients)
        return rows

    async def _cell(self, size_name: str, clients: int) -> "list[Row]":
        size = SIZES[size_name]
        body = os.urandom(size)
        count = await self._count(size_name, body, clients)
        keys = [f"{size_name}/{clients}/{number:06}" for number in range(count)]
        puts = [self.put(key, body) for key in keys]
        gets = [self._plain("GET", key) for key in keys]
        cells = {"PUT {}": puts, "GET {} cold": gets, "GET {} warm": gets}
        return [
            await self._row(name.format(size_name), clients, size, requests)
            for name, requests in cells.items()
        ]

    async def _row(self, name: str, clients: int, size: int, requests: "list[Request]") -> Row:
        before = self._cpu_s()
        measured = await self._run(requests, clients)
        used = {one: cpu_s - before.get(one, cpu_s) for one, cpu_s in self._cpu_s().items()}
        return Row(name, clients, size, measured, used)

    async def _count(self, size_name: str, body: bytes, clients: int) -> int:
        """As many requests as fill the planned time, judged by a short run."""
        tries = max(4 if len(body) < MIB else 1, min(clients, 64 if len(body) < MIB else 4))
        probe = [self.put(f"probe/{size_name}/{clients}/{n}", body) for n in range(tries)]
        measured = await self._run(probe, clients)
        wanted = int(measured.ops_per_s * self._plan.seconds)
        return max(clients * 2, min(wanted, 20_000, (4 << 30) // len(body)))

    async def _run(
        self, requests: "list[Request]", clients: int, *, expects_body: bool = True
    ) -> Measured:
        return await run_load(self._address, requests, clients=clients, expects_body=expects_body)

    async def head(self, clients: int = 16) -> Row:
        keys = await self._small_keys("head", 200)
        requests = [self._plain("HEAD", keys[n % len(keys)]) for n in range(2000)]
        measured = await self._run(requests, clients, expects_body=False)
        return Row("HEAD", clients, 0, measured)

    async def delete(self, clients: int = 16) -> Row:
        keys = await self._small_keys("delete", 3000)
        measured = await self._run([self._plain("DELETE", key) for key in keys], clients)
        return Row("DELETE", clients, 0, measured)

    async def _small_keys(self, prefix: str, count: int) -> "list[str]":
        keys = [f"{prefix}/{number:06}" for number in range(count)]
        await self._run([self.put(key, b"x" * 100) for key in keys], 64)
        return keys

    async def list_all(self) -> Row:
        """All of 10,000 keys, page after page; one measured request is the whole listing."""
        await self._small_keys("listed", LISTED_KEYS)
        measured = Measured()
        for _ in range(3):
            began = time.perf_counter()
            found = sum([count async for count in self._pages("listed/")])
            measured.latencies_s.append(time.perf_counter() - began)
            measured.errors += found != LISTED_KEYS
        measured.wall_s = sum(measured.latencies_s)
        return Row(f"LIST {LISTED_KEYS}", 1, 0, measured)

    async def _pages(self, prefix: str):  # type: ignore[no-untyped-def]
        connection = await connect(*self._address)
        connection.keep_body = True
        token = ""
        while True:
            pairs = [("list-type", "2"), ("prefix", prefix.replace("/", "%2F"))]
            if token:
                pairs.append(("continuation-token", token))
            query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
            head = signed_request(self._account, "GET", f"/{self._bucket}", query=query)
            await connection.request((head, b""))
            text = connection.body.decode()
            yield text.count("<Key>")
            found = re.search(r"<NextContinuationToken>([^<]+)</", text)
            if not found:
                connection._transport.close()
                return
            token = _encode(found[1])

    async def multipart(self) -> Row:
        """256 MiB in 16 MiB parts, four at a time; one measured request is the whole object."""
        key, body = "multipart/256M", os.urandom(PART_BYTES)
        measured = Measured()
        began = time.perf_counter()
        path = f"/{self._bucket}/{key}"
        head = signed_request(self._account, "POST", path, query="uploads=")
        _, answer = await fetch(self._address, (head, b""))
        upload = re.search(rb"<UploadId>([^<]+)</", answer)
        assert upload, answer[:300]
        etags = await self._parts(path, upload[1].decode(), body)
        xml = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in etags
        )
        done = f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode()
        query = f"uploadId={_encode(upload[1].decode())}"
        head = signed_request(self._account, "POST", path, query=query, body=done, sign_body=True)
        status, _ = await fetch(self._address, (head, done))
        measured.wall_s = time.perf_counter() - began
        measured.latencies_s.append(measured.wall_s)
        measured.errors += status != 200
        return Row("MULTIPART 256M", 4, MULTIPART_BYTES, measured)

    async def _parts(self, path: str, upload_id: str, body: bytes) -> "list[tuple[int, str]]":
        etag = hashlib.md5(body).hexdigest()  # S3's ETag.
        count = MULTIPART_BYTES // PART_BYTES
        requests = []
        for number in range(1, count + 1):
            query = f"partNumber={number}&uploadId={_encode(upload_id)}"
            head = signed_request(self._account, "PUT", path, query=query, body=body)
            requests.append((head, body))
        measured = await self._run(requests, 4)
        assert not measured.errors
        return [(number, f'"{etag}"') for number in range(1, count + 1)]


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")
