"""S22: sequences of requests from a grammar of boundary values: no 500, and nothing is forgotten.

Beside the application runs the simplest model there is, a dictionary of what was stored. After each
sequence every key is read back and listed, and nothing may be left counted, staged or in memory.
"""

import random
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from tests.model.asgi_client import Response, exchange
from tests.model.s3_caller import Caller, plain
from tests.model.s3_requests import IMPLEMENTED, LACKING, Names, form_request, lacking_request
from tests.model.s3_world import ALICE, BOB, S3World
from tests.security.inputs import Inputs
from tests.security.requests import cut

SEQUENCE_MAX: Final = 30
BUCKETS: Final = ("first", "second", "absent")
KEYS: Final = (
    "a",
    "a/b",
    "a//b",
    "..",
    "../../etc/passwd",
    "ü",
    "e\u0301",
    "\x00",
    "\r\n",
    "%",
    "+",
    " ",
    "?versionId=1",
    "x" * 1024,
    "x" * 1025,
    "🔑",
)
NUMBERS: Final = (
    "0",
    "1",
    "2",
    "1000",
    "1001",
    "10000",
    "10001",
    "-1",
    "1e3",
    "",
    "9" * 30,
    "\uff11",
)
ODD: Final = (
    "",
    "\x7f",
    "\t",
    "é",
    "null",
    "true",
    "%00",
    "0",
    "-1",
    "*",
    "bytes=0-",
    '"',
    "x" * 5000,
)
HEADERS: Final = (
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Content-Type",
    "Content-MD5",
    "Content-Encoding",
    "Content-Language",
    "Cache-Control",
    "Expires",
    "Prefer",
    "Expect",
    "x-amz-acl",
    "x-amz-meta-a",
    "x-amz-meta-ü",
    "x-amz-checksum-crc32",
    "x-amz-checksum-sha256",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-checksum-mode",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-range",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-part-number-marker",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-trailer",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-website-redirect-location",
    "x-fileflux-class",
)
VALUES: Final = (
    *ODD,
    *NUMBERS,
    "bytes=0-0",
    "bytes=5-1",
    "bytes=-0",
    "bytes=0-1,2-3",
    "Sat, 01 Jan 2000 00:00:00 GMT",
    "Sat, 99 Foo 2000 00:00:00 GMT",
    "gzip",
    "aws-chunked",
    "private",
    "COPY",
    "REPLACE",
    "CRC32",
    "MD5",
    "FULL_OBJECT",
    "COMPOSITE",
    "AAAAAA==",
    "ETag,Checksum,ObjectParts",
    "STANDARD",
    "single",
    "respond-async",
    "100-continue",
    "=?utf-8?q?=C3=A9?=",
    "=?utf-8?b?!!!?=",
)
PARAMETERS: Final = (
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "continuation-token",
    "start-after",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "uploads",
    "uploadId",
    "partNumber",
    "versionId",
    "delete",
    "acl",
    "key-marker",
    "upload-id-marker",
    "max-uploads",
    "max-parts",
    "part-number-marker",
    "response-content-type",
    "response-expires",
    "attributes",
    "x-id",
    "foo",
)
ALLOWED_5XX: Final = frozenset((501,))
"""In memory nothing is overloaded: a 503 would be wrong here, too."""


@dataclass
class Model:
    """What must be there. `parts`: of each open upload, by number."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, dict[int, tuple[str, bytes]]]] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=set)


class Fuzzer:
    """One sequence against a world."""

    def __init__(self, world: S3World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.alice = Caller(world.app, ALICE)
        self.model = Model()

    async def settle_in(self) -> None:
        for bucket in BUCKETS[:2]:
            assert (await self.alice("PUT", f"/{bucket}")).status == 200
            self.model.buckets.add(bucket)

    async def step(self) -> None:
        act = self.rng.choice(
            (
                self._put,
                self._put,
                self._put_form,
                self._delete,
                self._delete_many,
                self._copy,
                self._begin,
                self._begin,
                self._part,
                self._part,
                self._complete,
                self._complete,
                self._abort,
                self._anything,
                self._anything,
                self._anything,
                self._noise,
                self._lacking,
                self._bucket,
            )
        )
        _check(await act())

    # --- writes that the model follows --------------------------------------------------------

    async def _put(self) -> Response:
        bucket, key = self._name()
        data = self.rng.randbytes(self.rng.choice((0, 1, 100, 65_536, 65_537)))
        headers = self._headers(0.5)
        if self.rng.random() < 0.2:
            headers["Prefer"] = "respond-async"
        answer = await self.alice("PUT", _target(bucket, key), headers, cut(data, self.rng) or b"")
        is_stored = answer.status == 200
        if answer.status == 202:
            is_stored = await self._is_applied(answer.headers["location"])
        if is_stored:
            self.model.objects[bucket, key] = data
        return answer

    async def _is_applied(self, location: str) -> bool:
        for _ in range(1_000):
            state = (await self.alice("GET", location)).body
            if b"accepted" not in state:
                return b'"ok"' in state
        raise AssertionError("an accepted upload was never settled")

    async def _put_form(self) -> Response:
        bucket, key = self._name()
        data = self.rng.randbytes(self.rng.choice((0, 1, 100, 70_000)))
        request = form_request("/upload" + _target(bucket, key), data)
        pieces = cut(request.body, self.rng)
        answer = await self.alice.basic("PUT", request.target, dict(request.headers), pieces)
        if answer.status == 201:
            self.model.objects[bucket, key] = data
        return answer

    async def _delete(self) -> Response:
        bucket, key = self._name()
        answer = await self.alice("DELETE", _target(bucket, key), self._headers(0.2))
        if answer.status == 204:
            self.model.objects.pop((bucket, key), None)
        return answer

    async def _delete_many(self) -> Response:
        bucket = self.rng.choice(BUCKETS)
        keys = self.rng.sample([key for key in KEYS if key.isprintable()], 3)
        objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
        body = f"<Delete>{objects}</Delete>".encode()
        answer = await self.alice("POST", f"/{bucket}?delete", {}, body)
        if answer.status == 200:
            for key in answer.texts("Deleted/Key"):
                self.model.objects.pop((bucket, key), None)
        return answer

    async def _copy(self) -> Response:
        source, (bucket, key) = self._name(), self._name()
        headers = self._headers(0.3) | {"x-amz-copy-source": _target(*source)}
        answer = await self.alice("PUT", _target(bucket, key), headers)
        if answer.status == 200:
            self.model.objects[bucket, key] = self.model.objects[source]
        return answer

    async def _begin(self) -> Response:
        bucket, key = self._name()
        answer = await self.alice("POST", _target(bucket, key) + "?uploads", self._headers(0.2))
        if answer.status == 200:
            upload_id = answer.xml().findtext("UploadId") or ""
            self.model.uploads[upload_id] = (bucket, key, {})
        return answer

    async def _part(self) -> Response:
        upload_id, bucket, key = self._upload()
        number = self.rng.choice(
            (*NUMBERS, "1", "2", "3", "4") if self.rng.random() < 0.3 else "12"
        )
        data = self.rng.randbytes(self.rng.choice((0, 1, 1000)))
        target = f"{_target(bucket, key)}?partNumber={quote(number)}&uploadId={upload_id}"
        answer = await self.alice("PUT", target, self._headers(0.1), data)
        if answer.status == 200:
            self.model.uploads[upload_id][2][int(number)] = (answer.headers["etag"], data)
        return answer

    async def _complete(self) -> Response:
        upload_id, bucket, key = self._upload()
        known = self.model.uploads.get(upload_id, (bucket, key, {}))[2]
        parts = dict(self.rng.sample(sorted(known.items()), min(1, len(known))))
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, (etag, _) in parts.items()
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        target = f"{_target(bucket, key)}?uploadId={upload_id}"
        answer = await self.alice("POST", target, self._headers(0.1), body)
        if answer.status == 200:
            self.model.objects[bucket, key] = b"".join(data for _, data in parts.values())
            del self.model.uploads[upload_id]
        return answer

    async def _abort(self) -> Response:
        upload_id, bucket, key = self._upload()
        answer = await self.alice("DELETE", f"{_target(bucket, key)}?uploadId={upload_id}")
        if answer.status == 204:
            self.model.uploads.pop(upload_id, None)
        return answer

    async def _bucket(self) -> Response:
        bucket = self.rng.choice(BUCKETS)
        method = self.rng.choice(("PUT", "DELETE", "HEAD", "GET"))
        answer = await self.alice(method, f"/{bucket}")
        if method == "PUT" and answer.status == 200:
            self.model.buckets.add(bucket)
        elif method == "DELETE" and answer.status == 204:
            self.model.buckets.discard(bucket)
            assert not [name for name, _ in self.model.objects if name == bucket], "not empty"
            gone = [u for u, (name, _, _) in self.model.uploads.items() if name == bucket]
            for upload_id in gone:
                del self.model.uploads[upload_id]
        return answer

    # --- requests that change nothing that the model knows ------------------------------------

    async def _anything(self) -> Response:
        """Any read, any parameters, any headers."""
        bucket, key = self._name()
        target = self.rng.choice(("/", f"/{bucket}", f"/{bucket}/", _target(bucket, key)))
        method = self.rng.choice(("GET", "GET", "GET", "HEAD", "OPTIONS", "PATCH", "TRACE", "FOO"))
        return await self.alice(method, f"{target}?{self._query()}", self._headers(0.5))

    async def _noise(self) -> Response:
        """A body that is not what its operation reads, from somebody who may send it."""
        target = self.rng.choice(
            ("/first?delete", "/first/a?uploadId=" + "0" * 32, "/first/a?select", "/first")
        )
        words = (b"<", b">", b"Delete", b"/", b"Object", b"&", b"\x00", b"]]>", b"<!DOCTYPE", b" ")
        noise = b"".join(self.rng.choice(words) for _ in range(self.rng.randrange(30)))
        return await self.alice("POST", target, self._headers(0.2), noise)

    async def _lacking(self) -> Response:
        operation = self.rng.choice((*LACKING, *IMPLEMENTED))
        if operation in LACKING:
            request = lacking_request(operation, Names("first", "a"))
            return await self.alice(request.method, request.target, dict(request.headers))
        wire = plain(self.rng.choice(("GET", "PUT", "DELETE")), f"/first/a?{self._query()}")
        who = self.rng.choice((wire, Caller(self.world.app, BOB).signed("GET", "/first/a")))
        answer = await exchange(self.world.app, who)
        assert answer.status >= 400, "nobody and strangers get nothing"
        return answer

    # --- choices ------------------------------------------------------------------------------

    def _name(self) -> tuple[str, str]:
        if self.model.objects and self.rng.random() < 0.5:
            return self.rng.choice(sorted(self.model.objects))
        return self.rng.choice(BUCKETS), self.rng.choice(KEYS)

    def _upload(self) -> tuple[str, str, str]:
        if self.model.uploads and self.rng.random() < 0.8:
            upload_id = self.rng.choice(sorted(self.model.uploads))
            bucket, key, _ = self.model.uploads[upload_id]
            return upload_id, bucket, key
        return self.rng.choice(("0" * 32, "x", "", "f" * 64)), *self._name()

    def _headers(self, chance: float = 1.0) -> dict[str, str]:
        if self.rng.random() >= chance:
            return {}
        names = self.rng.sample(HEADERS, self.rng.randint(1, 3))
        return {name: self.rng.choice(VALUES) for name in names if name.isascii()}

    def _query(self) -> str:
        items = []
        for _ in range(self.rng.randint(0, 4)):
            value = self.rng.choice((*VALUES, *KEYS))
            items.append(f"{self.rng.choice(PARAMETERS)}={quote(value, safe='')}")
        return "&".join(items)

    # --- afterwards ---------------------------------------------------------------------------

    async def check(self) -> None:
        """What the model has is there, and nothing else."""
        for (bucket, key), data in self.model.objects.items():
            got = await self.alice("GET", _target(bucket, key))
            assert (got.status, got.body) == (200, data), (bucket, key)
        for bucket in self.model.buckets:
            listed = await self.alice("GET", f"/{bucket}?list-type=2&encoding-type=url")
            keys = sorted(quote(k, safe="/") for b, k in self.model.objects if b == bucket)
            assert sorted(listed.texts("Contents/Key")) == keys
            uploads = await self.alice("GET", f"/{bucket}?uploads")
            open_here = [u for u, (b, _, _) in self.model.uploads.items() if b == bucket]
            assert sorted(uploads.texts("Upload/UploadId")) == sorted(open_here)
        assert sorted((await self.alice("GET", "/")).texts("Buckets/Bucket/Name")) == sorted(
            self.model.buckets
        )
        assert self.world.is_idle()


def _target(bucket: str, key: str) -> str:
    return f"/{bucket}/{quote(key, safe='/')}"


def _check(answer: Response) -> None:
    assert answer.is_whole
    assert answer.status < 500 or answer.status in ALLOWED_5XX, (answer.status, answer.body)
    if answer.headers.get("content-type") == "application/xml" and answer.body:
        answer.xml()


async def test_s22_no_sequence_of_requests_breaks_the_application_or_its_promises(
    world: S3World, inputs: Inputs
) -> None:
    left = sum(1 for _ in inputs.rounds(0.14))
    number = 0
    while left > 0:
        number += 1
        fuzzer = Fuzzer(world, random.Random(inputs.rng.getrandbits(64)))
        await fuzzer.settle_in()
        for _ in range(min(left, fuzzer.rng.randint(1, SEQUENCE_MAX))):
            left -= 1
            await fuzzer.step()
        await fuzzer.check()
        await _clear(fuzzer)


async def _clear(fuzzer: Fuzzer) -> None:
    for bucket, key in list(fuzzer.model.objects):
        await fuzzer.alice("DELETE", _target(bucket, key))
    for bucket in fuzzer.model.buckets:
        assert (await fuzzer.alice("DELETE", f"/{bucket}")).status == 204
