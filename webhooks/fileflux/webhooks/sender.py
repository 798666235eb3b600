"""One HTTP POST to a subscriber: bounded in time and size, to a checked address, never further.

No redirect is followed, no proxy of the environment used, no cookie kept. The answer's body is read
up to a limit, so that a connection can serve again, and thrown away.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from fileflux.core.clock import Clock
from fileflux.webhooks.egress import Egress, EgressRefused, is_target
from fileflux.webhooks.retry import Result

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 65_536
HEAD_SIZE_MAX: Final = 200
CONNECTIONS_MAX: Final = 512
KEPT_HEADERS: Final = ("content-type", "content-length", "retry-after", "date")
USER_AGENT: Final = "FileFlux-Webhooks/1"


class _Pinned(AbstractResolver):
    """Knows only what was checked: whatever else the connector asks for does not exist."""

    def __init__(self) -> None:
        self.addresses: dict[tuple[str, int], tuple[str, ...]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses.get((host.removesuffix("."), port), ())
        ]

    async def close(self) -> None:
        self.addresses.clear()


class HttpSender:
    """Sends deliveries. One for all subscriptions; close it at the end."""

    def __init__(self, egress: Egress, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> None:
        self._egress = egress
        self._clock = clock
        self._timeout_s = timeout_s
        self._pinned = _Pinned()
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        """Return what came of one attempt. Never raises for what the other side does."""
        started_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._timeout_s):
                status, answered = await self._post(url, headers, body)
        except TimeoutError:
            return self._failed(started_s, f"no answer within {self._timeout_s:g} s")
        except EgressRefused as error:
            return self._failed(started_s, str(error))
        except ssl.SSLError:
            return self._failed(started_s, "the certificate is not valid")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self._failed(started_s, _plain(error))
        return Result(
            status=status,
            latency_us=self._since(started_s),
            head=_head(answered),
            retry_after=answered.get("retry-after", "")[:HEAD_SIZE_MAX],
        )

    async def close(self) -> None:
        """Drop the connections. Idempotent."""
        for session in (self._kept, self._fresh):
            if session is not None:
                await session.close()

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str]]:
        target, addresses = await self._egress.resolve(url)
        parsed = URL(url)
        if not is_target(target, parsed.host, parsed.port):
            raise EgressRefused("the URL can be read in two ways")
        self._pinned.addresses[target.host, target.port] = addresses
        headers = {"user-agent": USER_AGENT, **headers}
        self._kept = self._kept or self._session(keeps=True)
        self._fresh = self._fresh or self._session(keeps=False)
        try:
            return await _exchange(self._kept, parsed, headers, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            # The receiver had closed a connection that we kept. If it had not, it is sent twice.
            return await _exchange(self._fresh, parsed, headers, body)

    def _session(self, *, keeps: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._pinned,
            use_dns_cache=False,
            limit=CONNECTIONS_MAX,
            force_close=not keeps,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    def _failed(self, started_s: float, problem: str) -> Result:
        return Result(status=0, latency_us=self._since(started_s), problem=problem)

    def _since(self, started_s: float) -> int:
        return int((self._clock.monotonic_s() - started_s) * 1_000_000)


async def _exchange(
    session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str]]:
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
        await _throw_away(answer)
        return answer.status, answer.headers


async def _throw_away(answer: aiohttp.ClientResponse) -> None:
    """Read a short body; hang up on a long one."""
    size = 0
    async for piece in answer.content.iter_chunked(16_384):
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            answer.close()
            return


def _head(answered: Mapping[str, str]) -> str:
    """A few headers on one line, for people: nothing that a body could smuggle in."""
    kept = [f"{name}: {answered[name]}" for name in KEPT_HEADERS if name in answered]
    text = "; ".join(kept)[:HEAD_SIZE_MAX]
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text)


def _plain(error: Exception) -> str:
    """What went wrong, without addresses that name resolution told us."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "the certificate is not valid"
    if isinstance(error, aiohttp.ClientConnectorError | OSError):
        return "no connection"
    return f"the answer cannot be read ({type(error).__name__})"
