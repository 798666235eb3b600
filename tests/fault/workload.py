"""W-mix: seeded clients that write, read, list, copy and delete, and write down what they see.

40 % PUT, 35 % GET (a third of them ranged), 8 % DELETE, 7 % LIST, and the rest multipart uploads,
conditional writes, copies and asynchronous uploads; bodies describe themselves.
"""

import asyncio
import hashlib
import json
import random
import re
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, unquote

from tests.fault.epoch import HOT_KEYS, Epoch, Listing
from tests.fault.s3_client import Answer, NoAnswer, NotSent, S3Client
from tests.model.bodies import is_whole, label_of, make_body
from tests.model.history import ABSENT, Operation

KIB: Final = 1 << 10
MIB: Final = 1 << 20
PART_BYTES: Final = 5 * MIB
PAUSE_S: Final = 0.05
NOBODY_LISTENS_S: Final = 0.1
ASYNC_PATIENCE_S: Final = 90.0
MIX: Final = {
    "put": 38, "get": 23, "get_range": 12, "delete": 8, "list": 5,
    "multipart": 4, "put_if_absent": 3, "put_if_match": 3, "copy": 2, "put_async": 2,
}  # fmt: skip
PAGE_KEYS: Final = 15


class Client:
    """One client of an epoch. `run_number` and `number` make its bodies unlike all others."""

    def __init__(
        self, s3: S3Client, epoch: Epoch, *, bucket: str, number: int, run_number: int, seed: int
    ) -> None:
        self._s3 = s3
        self._epoch = epoch
        self._bucket = bucket
        self._number = number
        self._run = run_number
        self._rng = random.Random(seed)
        self._sequence = 0
        self._seen_etags: dict[str, str] = {}
        self._sources: list[tuple[str, str, str]] = []

    async def work(self, is_stopping: Callable[[], bool]) -> None:
        """One operation after the other until told to stop."""
        await self._make_source()
        operations = {name: getattr(self, f"_{name}") for name in MIX}
        while not is_stopping():
            name = self._rng.choices(list(MIX), weights=list(MIX.values()))[0]
            try:
                await operations[name](self._epoch.hot_key(self._rng.randrange(HOT_KEYS)))
            except NotSent:
                await asyncio.sleep(NOBODY_LISTENS_S)
            await asyncio.sleep(self._rng.random() * PAUSE_S)

    async def read_all(self, keys: list[str]) -> None:
        """The end of an epoch: what is there now is one more read of each key."""
        for key in keys:
            one = await self._get(key, kind="final")
            self._epoch.final[key] = one.value
            if one.outcome != "ok":
                self._epoch.problems.append(f"{key} cannot be read at the end")

    async def close(self) -> None:
        await self._s3.close()

    # Writes.

    async def _make_source(self) -> None:
        """A small object that nobody changes, to be copied."""
        key = f"{self._epoch.name}/source-{self._number}"
        body = self._body(3_000)
        label, etag = self._epoch.note(body)
        while not await self._is_stored(key, body, label):
            await asyncio.sleep(NOBODY_LISTENS_S)
        self._sources.append((key, label, etag))

    async def _is_stored(self, key: str, body: bytes, label: str) -> bool:
        try:
            one = await self._write(key, body, label=label)
        except NotSent:
            return False
        return one.outcome == "ok"

    async def _put(self, key: str) -> None:
        if self._rng.random() < 0.2:
            key = f"{self._epoch.name}/new-{self._number}-{self._sequence}"
        body = self._body(self._size())
        label, _ = self._epoch.note(body)
        await self._write(key, body, label=label)

    async def _put_if_absent(self, key: str) -> None:
        body = self._body(self._size())
        label, _ = self._epoch.note(body)
        await self._write(key, body, label=label, expected=ABSENT, if_none_match="*")

    async def _put_if_match(self, key: str) -> None:
        etag = self._seen_etags.get(key)
        if etag is None:
            return
        body = self._body(self._size())
        label, _ = self._epoch.note(body)
        expected = self._epoch.etags[etag]
        await self._write(key, body, label=label, expected=expected, if_match=f'"{etag}"')

    async def _write(
        self, key: str, body: bytes, *, label: str, expected: str | None = None, **headers: str
    ) -> Operation:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        one = self._call("write", key, label, expected)
        answer = await self._answered(one, "PUT", key, body=body, headers=fields)
        if answer is not None:
            self._judge_write(one, answer)
            if answer.status == 200:
                self._seen_etags[key] = answer.headers["etag"].strip('"')
        return one

    async def _put_async(self, key: str) -> None:
        body = self._body(self._size())
        label, _ = self._epoch.note(body)
        one = self._call("write", key, label)
        answer = await self._answered(
            one, "PUT", key, body=body, headers=[("prefer", "respond-async")]
        )
        if answer is not None and answer.status == 202:
            await self._await_upload(one, answer.headers["location"])
        elif answer is not None:
            self._judge_write(one, answer)

    async def _await_upload(self, one: Operation, location: str) -> None:
        """202 promised that it will be driven to its end, whatever happens."""
        deadline_s = time.monotonic() + ASYNC_PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                answer = await self._s3.request("GET", location)
            except (NoAnswer, NotSent):
                answer = None
            if answer is not None and answer.status == 200:
                state = json.loads(answer.body)["state"]
                if state == "ok":
                    return self._done(one, "ok")
                if state != "accepted":
                    self._epoch.problems.append(f"accepted upload of {one.key} became {state}")
                    return self._done(one, "fail")
            await asyncio.sleep(0.1)
        self._epoch.problems.append(f"accepted upload of {one.key} came to no end")
        return None

    async def _copy(self, key: str) -> None:
        source, label, _ = self._rng.choice(self._sources)
        one = self._call("write", key, label)
        field = ("x-amz-copy-source", quote(f"/{self._bucket}/{source}"))
        answer = await self._answered(one, "PUT", key, headers=[field])
        if answer is not None:
            self._judge_write(one, answer)

    async def _delete(self, key: str) -> None:
        one = self._call("delete", key)
        answer = await self._answered(one, "DELETE", key)
        if answer is not None:
            self._judge_write(one, answer)

    async def _multipart(self, key: str) -> None:
        size = PART_BYTES + 10_000 if self._rng.random() < 0.1 else self._size()
        body = self._body(size)
        parts = [body[at : at + PART_BYTES] for at in range(0, len(body), PART_BYTES)]
        try:
            upload_id = await self._begun(key)
            tags = [await self._part(key, upload_id, n, p) for n, p in enumerate(parts, 1)]
        except _NotThisTime:
            return
        digests = b"".join(bytes.fromhex(tag) for tag in tags)
        label, _ = self._epoch.note(body, f"{hashlib.md5(digests).hexdigest()}-{len(parts)}")
        listed = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"
            for n, tag in enumerate(tags, 1)
        )
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        one = self._call("write", key, label)
        answer = await self._answered(
            one, "POST", key, query=f"uploadId={upload_id}", body=document
        )
        if answer is not None:
            self._judge_write(one, answer)

    async def _begun(self, key: str) -> str:
        answer = await self._step("POST", key, query="uploads=")
        found = re.search(rb"<UploadId>([^<]+)</UploadId>", answer.body)
        assert found, answer.body
        return quote(found[1].decode(), safe="-_.~")

    async def _part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        query = f"partNumber={number}&uploadId={upload_id}"
        answer = await self._step("PUT", key, query=query, body=body)
        return answer.headers["etag"].strip('"')

    async def _step(self, method: str, key: str, *, query: str, body: bytes = b"") -> Answer:
        """A step that changes no key; an upload that is not completed is nothing."""
        try:
            answer = await self._s3.request(method, self._path(key), query=query, body=body)
        except NoAnswer as error:
            raise _NotThisTime from error
        if answer.status == 200:
            return answer
        if answer.status != 503:
            self._epoch.unexpected(f"{method} {key}?{query}", answer)
        raise _NotThisTime

    # Reads.

    async def _get(self, key: str, *, kind: str = "get") -> Operation:
        one = self._call("read", key)
        answer = await self._answered(one, "GET", key)
        if answer is not None:
            self._judge_read(one, answer, kind)
        return one

    async def _get_range(self, key: str) -> None:
        first = self._rng.choice([0, 0, 100, 65_536, self._rng.randrange(200_000)])
        last = first + self._rng.randrange(1, 100_000)
        one = self._call("read", key)
        field = ("range", f"bytes={first}-{last}")
        answer = await self._answered(one, "GET", key, headers=[field])
        if answer is None:
            return
        if answer.status == 206:
            self._judge_range(one, answer, first)
        elif answer.status == 416:
            self._done(one, "fail")
        else:
            self._judge_read(one, answer, "ranged get")

    def _judge_range(self, one: Operation, answer: Answer, first: int) -> None:
        """The ETag tells which body it is; the range must be those bytes of it."""
        etag = answer.headers["etag"].strip('"')
        body = self._epoch.bodies.get(etag)
        if etag not in self._epoch.etags:
            self._epoch.unexpected(f"GET {one.key}: an ETag that nobody wrote", answer)
        if body is not None and body[first : first + len(answer.body)] != answer.body:
            self._epoch.problems.append(f"wrong bytes in a range of {one.key}")
        self._done(one, "ok", self._epoch.etags.get(etag, etag))

    def _judge_read(self, one: Operation, answer: Answer, kind: str) -> None:
        if answer.status == 404:
            return self._done(one, "ok", ABSENT)
        if answer.status == 503:
            return self._done(one, "fail")
        if answer.status != 200:
            self._done(one, "fail")
            return self._epoch.unexpected(f"{kind} {one.key}", answer)
        if not is_whole(answer.body):
            self._epoch.problems.append(f"wrong bytes: {kind} {one.key}, {len(answer.body)} bytes")
        self._seen_etags[one.key] = answer.headers["etag"].strip('"')
        return self._done(one, "ok", label_of(answer.body))

    async def _list(self, _key: str) -> None:
        """Each key that is listed, and each that is not, was read in between."""
        called_s = time.monotonic()
        known = [key for key in self._epoch.keys if self._epoch.has_room(key)]
        try:
            keys = await self._pages()
        except (NoAnswer, _NotThisTime):
            return
        returned_s = time.monotonic()
        found = dict(keys)
        is_ordered = [key for key, _ in keys] == sorted(found)
        self._epoch.listings.append(Listing(called_s, returned_s, found, is_ordered))
        for key in known:
            etag = found.get(key)
            value = ABSENT if etag is None else self._epoch.etags.get(etag, etag)
            one = self._epoch.history.call(self._number, "read", key, at_s=called_s)
            self._epoch.history.returned(one, "ok", at_s=returned_s, value=value)

    async def _pages(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        token = ""
        while True:
            continued = f"continuation-token={quote(token, safe='-_.~')}&" if token else ""
            prefix = quote(f"{self._epoch.name}/", safe="-_.~")
            query = f"{continued}list-type=2&max-keys={PAGE_KEYS}&prefix={prefix}"
            answer = await self._s3.request("GET", f"/{self._bucket}", query=query)
            if answer.status == 503:
                raise _NotThisTime
            if answer.status != 200:
                self._epoch.unexpected(f"LIST {query}", answer)
                raise _NotThisTime
            text = answer.body.decode()
            found += _entries(text)
            if "<IsTruncated>true" not in text:
                return found
            match = re.search("<NextContinuationToken>([^<]+)<", text)
            assert match, text
            token = match[1]

    # What both need.

    def _body(self, size: int) -> bytes:
        self._sequence += 1
        body = make_body(self._run, self._number, self._sequence, max(size, 64))
        self._epoch.keep(body)
        return body

    def _size(self) -> int:
        draw = self._rng.random()
        if draw < 0.75:
            return self._rng.randrange(1 * KIB, 64 * KIB)
        if draw < 0.95:
            return self._rng.randrange(64 * KIB, 512 * KIB)
        return self._rng.randrange(1 * MIB, 4 * MIB)

    def _path(self, key: str) -> str:
        return f"/{self._bucket}/{key}"

    def _call(
        self, kind: str, key: str, value: str = ABSENT, expected: str | None = None
    ) -> Operation:
        return self._epoch.history.call(
            self._number, kind, key, at_s=time.monotonic(), value=value, expected=expected
        )

    def _done(self, one: Operation, outcome: str, value: str | None = None) -> None:
        self._epoch.history.returned(one, outcome, at_s=time.monotonic(), value=value)

    async def _answered(
        self,
        one: Operation,
        method: str,
        key: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: list[tuple[str, str]] | None = None,
    ) -> Answer | None:
        """None: no answer came, and the operation stays unknown. Raise NotSent."""
        try:
            return await self._s3.request(
                method, self._path(key), query=query, body=body, headers=sorted(headers or [])
            )
        except NoAnswer:
            return None
        except NotSent:
            self._epoch.was_not_sent(one)
            raise

    def _judge_write(self, one: Operation, answer: Answer) -> None:
        if answer.status in (200, 204) and b"<Error>" not in answer.body:
            self._done(one, "ok")
        elif answer.status == 503:
            self._epoch.refusal(one)
        elif answer.status in (409, 412) or (answer.status == 404 and one.expected):
            self._done(one, "fail")  # A condition that was not met; If-Match finds nothing: 404.
        else:
            self._done(one, "fail")
            self._epoch.unexpected(f"{one.kind} {one.key}", answer)


class _NotThisTime(Exception):
    """A step was refused or lost; the operation as a whole did nothing that counts."""


def _entries(text: str) -> list[tuple[str, str]]:
    found = re.findall("<Contents>.*?<Key>([^<]*)</Key>.*?<ETag>([^<]*)</ETag>", text, re.DOTALL)
    return [(unquote(key), etag.replace("&quot;", "").strip('"')) for key, etag in found]
