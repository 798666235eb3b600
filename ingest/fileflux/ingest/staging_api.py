"""Where storage nodes pull staged bundles: a sub-application on ingest's internal port.

Any worker serves any bundle of its host, also those of the dead. A bundle is served as it was
opened: whole, even when its name goes meanwhile.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fileflux.core.clock import Clock
from fileflux.core.errors import FileFluxError, NoSuchBundle
from fileflux.core.ids import BundleId, Incarnation, parse_id
from fileflux.core.internal_auth import HEADER, verify
from fileflux.core.model import KIB, MIB
from fileflux.core.node_api import STAGING_PATH
from fileflux.ingest.staging import StagedReader, StagingHost

WHOLE_BYTES_MAX: Final = 256 * KIB
"""Up to here a bundle is one read and one answer."""
BLOCK_BYTES: Final = MIB
"""Of a longer answer: what is in memory at once per request."""


class StagingApi:
    """GET and HEAD of staged bundles, signed with the cluster's secret."""

    def __init__(self, host: StagingHost, *, secret: bytes, clock: Clock) -> None:
        self._host = host
        self._secret = secret
        self._clock = clock

    def app(self) -> Starlette:
        return Starlette(routes=[Route(STAGING_PATH, self._serve, methods=["GET"])])

    async def _serve(self, request: Request) -> Response:
        if not self._is_ours(request):
            return Response(status_code=403)
        try:
            incarnation = Incarnation(parse_id(request.path_params["incarnation"]))
            bundle_id = BundleId(parse_id(request.path_params["bundle_id"]))
        except ValueError:
            return Response(status_code=404)
        try:
            reader = await self._host.open(incarnation, bundle_id)
        except NoSuchBundle:
            return Response(status_code=404)
        except FileFluxError:
            return Response(status_code=503)
        return await _answer(request, reader)

    def _is_ours(self, request: Request) -> bool:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return verify(
            self._secret,
            request.headers.get(HEADER, ""),
            method=request.method,
            target=target,
            now_us=self._clock.now_us(),
        )


async def _answer(request: Request, reader: StagedReader) -> Response:
    """Answer from an open bundle, and close it when the answer is out."""
    found = _parse_range(request.headers.get("range"), reader.size)
    if found is None:
        reader.close()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{reader.size}"})
    start, length, is_part = found
    headers = {"Content-Length": str(length), "Accept-Ranges": "bytes"}
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{reader.size}"
    status, media_type = (206 if is_part else 200), "application/octet-stream"
    if request.method == "HEAD":
        reader.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    if length <= WHOLE_BYTES_MAX:
        with contextlib.closing(reader):
            body = await reader.read(start, length)
        return Response(body, status_code=status, headers=headers, media_type=media_type)
    blocks = _blocks(reader, start, length)
    return _BlocksResponse(reader, blocks, status, headers)


class _BlocksResponse(StreamingResponse):
    """Closes its bundle however it ends.

    The iterator could not: one that was never begun, since the node had gone before its first
    block, runs no `finally`.
    """

    def __init__(
        self,
        reader: StagedReader,
        blocks: AsyncIterator[bytes],
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(blocks, status, headers, media_type="application/octet-stream")
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.closing(self._reader):
            await super().__call__(scope, receive, send)


async def _blocks(reader: StagedReader, start: int, length: int) -> AsyncIterator[bytes]:
    for at in range(start, start + length, BLOCK_BYTES):
        yield await reader.read(at, min(BLOCK_BYTES, start + length - at))


def _parse_range(text: str | None, size: int) -> tuple[int, int, bool] | None:
    """Return (start, length, whether it is a part); None when it cannot be satisfied.

    One range of bytes only; anything else is as if nothing was asked, as RFC 9110 allows.
    """
    whole = (0, size, False)
    if text is None or not text.startswith("bytes=") or "," in text:
        return whole
    first, dash, last = text[6:].partition("-")
    if not dash or not all(not part or _is_number(part) for part in (first, last)):
        return whole
    if not first:
        if not last:
            return whole
        length = min(int(last), size)
        return (size - length, length, True) if length else None
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return whole
    return (start, end - start + 1, True) if start <= end else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
