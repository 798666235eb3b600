"""Bring a bundle here: from the ingest that staged it, else from a peer that already has it.

What arrives is verified whole against the size and crc of its seal before anybody else sees it, so
a source cannot give us anything but the bundle. Buffers are bounded: a pull waits until there is
room for all of its bytes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

from fileflux.core.bundle_records import BUNDLE_SIZE_MAX
from fileflux.core.bundle_view import BundleReceiver
from fileflux.core.errors import Corrupt, FormatInvalid, NodeUnreachable, NoSuchBundle
from fileflux.core.failpoints import failpoint
from fileflux.core.model import MIB, SizeClass
from fileflux.core.node_client import PullSink
from fileflux.core.telemetry import NODE_PULLS_FAILED, get_logger
from fileflux.core.tracing import Span, current, set_server, tracer
from fileflux.events.schema import BundleAssigned
from fileflux.storage_node.bundle_store import IncomingBundle

log = get_logger(__name__)

LARGE_PULLS_MAX: Final = 4
SMALL_PULLS_MAX: Final = 32
BUFFER_BYTES_MAX: Final = 64 * MIB
"""Bundles between their pull and their sync, all together."""
SOURCE_DEADLINE_S: Final = 10.0
ROUNDS: Final = 2
ROUND_PAUSE_S: Final = 0.1


class Puller(Protocol):
    """What fetches: `core.node_client.NodeClient`, or a simulation's."""

    async def pull(self, url: str, sink: PullSink) -> None: ...


class PullFailed(Exception):
    """No source gave the bundle. `reason` is a word of `BundleRefused`: gone or corrupt."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ByteBudget:
    """So many bytes at once, first come first served."""

    def __init__(self, bytes_max: int) -> None:
        self._free = bytes_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        """Hold `count` bytes. Waits for its turn."""
        if self._waiting or count > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((count, turn))
            try:
                await turn
            except asyncio.CancelledError:
                # Its turn had come, or those behind it may go now.
                self._give_back(count if turn.done() and not turn.cancelled() else 0)
                raise
        else:
            self._free -= count
        try:
            yield
        finally:
            self._give_back(count)

    def _give_back(self, count: int) -> None:
        self._free += count
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()


class Pulls:
    """At most 4 large and 32 small ones at once, within 64 MiB."""

    def __init__(self, puller: Puller, *, buffer_bytes: int = BUFFER_BYTES_MAX) -> None:
        assert buffer_bytes >= BUNDLE_SIZE_MAX, "one bundle must fit"
        self._puller = puller
        self._tracer = tracer()
        self._budget = ByteBudget(buffer_bytes)
        self._running = {
            SizeClass.SMALL: asyncio.Semaphore(SMALL_PULLS_MAX),
            SizeClass.LARGE: asyncio.Semaphore(LARGE_PULLS_MAX),
        }

    @asynccontextmanager
    async def pulled(self, assigned: BundleAssigned) -> AsyncIterator[IncomingBundle]:
        """Hold the verified bundle in memory; raise PullFailed when no source gives it."""
        if assigned.size > BUNDLE_SIZE_MAX:
            raise PullFailed("corrupt")
        async with AsyncExitStack() as held:
            # First the turn: room held by those who wait for theirs would be nobody's.
            async with self._running[assigned.size_class]:
                await held.enter_async_context(self._budget.take(assigned.size))
                bundle = await self._pull(assigned)
            failpoint("node.after_pull")
            yield bundle

    async def _pull(self, assigned: BundleAssigned) -> IncomingBundle:
        failures: list[Exception] = []
        for attempt in range(ROUNDS):
            if attempt:
                await asyncio.sleep(ROUND_PAUSE_S)
            failures = []
            for url in _sources(assigned):
                try:
                    return await self._pull_from(url, assigned)
                except (NoSuchBundle, NodeUnreachable, Corrupt, FormatInvalid) as error:
                    NODE_PULLS_FAILED.labels(type(error).__name__).inc()
                    failures.append(error)
            if not any(isinstance(error, NodeUnreachable) for error in failures):
                break
        reason = _reason(failures)
        log.info(
            "no source gave the bundle",
            bundle_id=assigned.bundle_id.hex(),
            reason=reason,
            causes=[repr(error) for error in failures],
        )
        raise PullFailed(reason)

    async def _pull_from(self, url: str, assigned: BundleAssigned) -> IncomingBundle:
        receiver = BundleReceiver(assigned.bundle_id, assigned.size, assigned.crc)
        with self._tracer.span("pull bundle", current(), kind="client") as span:
            if span:
                _describe(span, url, assigned)
            try:
                async with asyncio.timeout(SOURCE_DEADLINE_S):
                    await self._puller.pull(url, receiver)
            except TimeoutError:
                raise NodeUnreachable("the source is too slow") from None
            data, view = receiver.finish()
        return IncomingBundle(data, view)


def _describe(span: Span, url: str, assigned: BundleAssigned) -> None:
    span.set("http.request.method", "GET")
    set_server(span, url)
    span.set("fileflux.bundle.size", assigned.size)


def _sources(assigned: BundleAssigned) -> list[str]:
    peers = [f"{peer}/v1/bundles/{assigned.bundle_id.hex()}" for peer in assigned.peers]
    return [assigned.source_url, *peers] if assigned.source_url else peers


def _reason(failures: Sequence[Exception]) -> str:
    damaged = any(isinstance(error, (Corrupt, FormatInvalid)) for error in failures)
    return "corrupt" if damaged else "gone"
