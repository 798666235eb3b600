"""Somebody who calls S3: signs each request as a client of that user would, and sends it."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from tests.model.asgi_client import Response, exchange
from tests.model.s3_world import User
from tests.security.signing import Wire, presign, sign

Headers = dict[str, str]


class Caller:
    """A user at an application."""

    def __init__(self, app: Any, user: User) -> None:
        self._app = app
        self.user = user

    async def __call__(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes | Sequence[bytes] = b"",
        *,
        gone_after: int | None = None,
    ) -> Response:
        """Send a request signed by header, its body's digest signed too."""
        wire = self.signed(method, target, headers, body)
        return await exchange(self._app, wire, body, gone_after=gone_after)

    def signed(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes | Sequence[bytes] = b"",
        *,
        payload: str = "",
    ) -> Wire:
        data = body if isinstance(body, bytes) else b"".join(body)
        given = dict(headers or {})
        if data or method in ("PUT", "POST"):
            given.setdefault("Content-Length", str(len(data)))
        return sign(
            method,
            target,
            list(given.items()),
            payload=payload or hashlib.sha256(data).hexdigest(),
            access_key=self.user.access_key,
            secret_key=self.user.secret_key,
        )

    async def presigned(
        self, method: str, target: str, headers: Headers | None = None, body: bytes = b""
    ) -> Response:
        given = dict(headers or {})
        if body or method in ("PUT", "POST"):
            given.setdefault("Content-Length", str(len(body)))
        wire = presign(
            method,
            target,
            list(given.items()),
            access_key=self.user.access_key,
            secret_key=self.user.secret_key,
        )
        return await exchange(self._app, wire, body)

    async def basic(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes | Sequence[bytes] = b"",
        *,
        gone_after: int | None = None,
    ) -> Response:
        """Send a request of the REST endpoints: name and password."""
        wire = self.basic_wire(method, target, headers, body)
        return await exchange(self._app, wire, body, gone_after=gone_after)

    def basic_wire(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes | Sequence[bytes] = b"",
    ) -> Wire:
        pair = f"{self.user.name}:{self.user.password}".encode()
        credentials = f"Basic {base64.b64encode(pair).decode()}"
        return plain(method, target, {"Authorization": credentials, **(headers or {})}, body)


def plain(
    method: str,
    target: str,
    headers: Headers | None = None,
    body: bytes | Sequence[bytes] = b"",
) -> Wire:
    """Return a request that says nothing of its sender."""
    path, _, query = target.partition("?")
    given = {"Host": "localhost:9000", **(headers or {})}
    size = sum(map(len, body)) if not isinstance(body, bytes) else len(body)
    if size:
        given.setdefault("Content-Length", str(size))
    pairs = tuple((name.encode(), value.encode("latin-1")) for name, value in given.items())
    return Wire(method, path.encode(), query.encode(), pairs)
