"""A request's head comes whole, soon and small, or its connection is closed.

The server's own time-out is for connections that are silent between two requests; every byte ends
it. So a head that never ends would hold a connection for nothing, and one that only grows memory;
so would a body's trailers. Bodies have their own limits (`body_plan.BodyLimits`) and are no
business of ours.
"""

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 64 * 1024
"""S3's longest key, percent-encoded, and all metadata that it allows take less than 10 KiB."""


class HeadDeadlineProtocol(HttpToolsProtocol):
    """One connection. Make the class with `with_head_deadline`."""

    head_timeout_s: ClassVar[float]
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    """Since a head ended or a body had a byte: what the parser keeps until there is an end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        # Between two requests it is the first byte that counts, so that waiting costs nothing.
        if self._deadline is None and self._awaits_head():
            self._begin()
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse()

    def on_headers_complete(self) -> None:
        self._end()
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        # What else came with these bytes may be a head's, and is little enough.
        self._head_bytes = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self) -> None:
        """A head that grows behind a request whose answer is on its way can only be cut off."""
        if self._awaits_head():
            self.send_400_response("The request's head is too large.")
        else:
            self.transport.abort()

    def _begin(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()


def with_head_deadline(seconds: float) -> type[HeadDeadlineProtocol]:
    """Return the protocol for uvicorn's `http`: heads have this long, from their first byte or from
    the connection's begin.
    """
    return type("Protocol", (HeadDeadlineProtocol,), {"head_timeout_s": seconds})
