"""A client may be slow, but not slower than a kilobyte a second, and not for ever.

Without this a thousand idle sockets hold a thousand uploads. Only time spent waiting for the
client counts: our own back-pressure never makes a good client look slow.
"""

import asyncio
from collections.abc import AsyncIterator

from fileflux.core.clock import Clock
from fileflux.ingest.auth_errors import RequestTimeout
from fileflux.ingest.body_plan import BodyLimits


class PacedStream:
    """The pieces of a body. Each 30 KiB of it must come within 30 s of waiting."""

    def __init__(self, stream: AsyncIterator[bytes], clock: Clock, limits: BodyLimits) -> None:
        self._stream = stream
        self._clock = clock
        self._window_s = limits.slow_s_max
        self._window_bytes = int(limits.slow_bytes_s_min * limits.slow_s_max)
        self._end_s = clock.monotonic_s() + limits.total_s_max
        self._waited_s = 0.0
        self._arrived_bytes = 0

    async def next_piece(self) -> bytes | None:
        """Return the next bytes, None at the end; raise RequestTimeout for a client too slow."""
        began_s = self._clock.monotonic_s()
        left_s = min(self._window_s - self._waited_s, self._end_s - began_s)
        if left_s <= 0:
            raise RequestTimeout
        try:
            async with asyncio.timeout(left_s):
                piece = await anext(self._stream, None)
        except TimeoutError:
            raise RequestTimeout from None
        self._count(piece, self._clock.monotonic_s() - began_s)
        return piece

    def _count(self, piece: bytes | None, waited_s: float) -> None:
        self._waited_s += waited_s
        self._arrived_bytes += len(piece or b"")
        if self._arrived_bytes >= self._window_bytes:
            self._waited_s, self._arrived_bytes = 0.0, 0
