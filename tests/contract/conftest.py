"""A bucket for the staging's contract: as much of S3 as it uses, in memory, signatures unread."""

import datetime
import email.utils
import hashlib
from collections.abc import AsyncIterator
from typing import Final
from xml.sax.saxutils import escape

import pytest
import uvicorn
from defusedxml.ElementTree import fromstring
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fileflux.core.ops import EmbeddedServer

PAGE: Final = 3
"""Tiny pages, so that listing must follow them."""


class FakeS3:
    """Objects of one bucket: key → (bytes, time)."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime.datetime]] = {}
        self.url = ""

    def age(self, prefix: str, seconds: float) -> None:
        """Make what is under `prefix` older."""
        for key, (data, at) in self.objects.items():
            if key.startswith(prefix):
                self.objects[key] = (data, at - datetime.timedelta(seconds=seconds))

    async def object(self, request: Request) -> Response:
        key = request.path_params["key"]
        if request.method == "PUT":
            return self._put(key, await request.body(), request)
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        return self._read(key, request)

    async def bucket(self, request: Request) -> Response:
        if request.method == "POST":
            for name in fromstring(await request.body()).iter():
                if name.tag.endswith("Key"):
                    self.objects.pop(name.text or "", None)
            return _xml("<DeleteResult/>")
        return self._list(request)

    def _put(self, key: str, data: bytes, request: Request) -> Response:
        wanted = request.headers.get("if-match")
        if wanted is not None and (key not in self.objects or wanted != self._etag(key)):
            return _error(412, "PreconditionFailed")
        self.objects[key] = (data, datetime.datetime.now(datetime.UTC))
        return Response(headers={"ETag": self._etag(key)})

    def _read(self, key: str, request: Request) -> Response:
        data, at = self.objects[key]
        headers = {
            "ETag": self._etag(key),
            "Last-Modified": email.utils.format_datetime(at, usegmt=True),
            "Content-Length": str(len(data)),
        }
        if request.method == "HEAD":
            return Response(headers=headers)
        if "range" in request.headers:
            start, _, end = request.headers["range"].removeprefix("bytes=").partition("-")
            data = data[int(start) : int(end) + 1]
            headers["Content-Length"] = str(len(data))
        return Response(data, headers=headers)

    def _list(self, request: Request) -> Response:
        query = request.query_params
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        rows = sorted(
            {
                key.partition("/")[0] + "/" if query.get("delimiter") else key
                for key in self.objects
                if key.startswith(prefix)
            }
        )
        rows = [row for row in rows if row > after]
        tag = "CommonPrefixes><Prefix" if query.get("delimiter") else "Contents><Key"
        end = "Prefix></CommonPrefixes" if query.get("delimiter") else "Key></Contents"
        body = "".join(f"<{tag}>{escape(row)}</{end}>" for row in rows[:PAGE])
        if len(rows) > PAGE:
            body += "<IsTruncated>true</IsTruncated>"
            body += f"<NextContinuationToken>{escape(rows[PAGE - 1])}</NextContinuationToken>"
        return _xml(f"<ListBucketResult>{body}</ListBucketResult>")

    def _etag(self, key: str) -> str:
        return f'"{hashlib.sha256(self.objects[key][0]).hexdigest()}"'


def _xml(body: str, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/xml")


def _error(status: int, code: str) -> Response:
    return _xml(f"<Error><Code>{code}</Code><Message>no</Message></Error>", status)


@pytest.fixture
async def fake_s3() -> AsyncIterator[FakeS3]:
    fake = FakeS3()
    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    routes = [
        Route("/staging", fake.bucket, methods=methods),
        Route("/staging/{key:path}", fake.object, methods=methods),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=0, access_log=False, log_config=None
    )
    server = EmbeddedServer(config)
    await server.start()
    fake.url = f"http://127.0.0.1:{server.port}"
    yield fake
    await server.stop()
