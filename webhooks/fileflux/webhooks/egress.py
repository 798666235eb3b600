"""Where deliveries may go: nowhere inside. A tenant writes the URL, our network position sends it.

A name is resolved once, every address that it has is checked, and the connection is made to one of
these: a name that answers otherwise a moment later (DNS rebinding) changes nothing. Only globally
routed unicast addresses pass; forms that carry an IPv4 address inside an IPv6 one never do.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from fileflux.core.errors import Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) → addresses as text; raises OSError when there are none."""

URL_SIZE_MAX: Final = 2_048
LOOKUPS_MAX: Final = 256
"""At once: more than the attempts of receivers that are ailing."""
PORTS: Final = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
"""The last label begins with a letter: 2130706433, 0x7f.1 and 127.1 are no names."""
_UNICAST_6: Final = IPv6Network("2000::/3")
_FORBIDDEN: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # Carriers' NAT.
        "168.63.129.16/32",  # A cloud's metadata behind a public address.
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays.
        "198.18.0.0/15",
        "224.0.0.0/3",  # Multicast, reserved, broadcast.
        "2001::/23",  # Teredo, ORCHID and other special uses.
        "2001:db8::/32",
        "2002::/16",  # 6to4.
        "3fff::/20",
    )
)


class EgressRefused(Invalid):
    """A delivery would go where none may go. The message names no address of ours."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its parts. `host`: lower case, an address without brackets."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`allowed`: networks that may be reached whatever they are, by http and on any port too.

    `allow_http`: whether anybody else may be sent to without TLS.
    """

    allowed: tuple[Network, ...] = ()
    allow_http: bool = False
    ports: frozenset[int] = PORTS

    def check(self, address: Address, target: Target) -> None:
        """Raise EgressRefused unless a delivery may go to this address."""
        if any(address.version == net.version and address in net for net in self.allowed):
            return
        if not is_public(address):
            raise EgressRefused("the host's address is not a public one")
        if target.scheme != "https" and not self.allow_http:
            raise EgressRefused("deliveries go by https")
        if target.port not in self.ports:
            raise EgressRefused(f"port {target.port} is not one that deliveries may go to")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return networks written with commas; raise ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_public(address: Address) -> bool:
    """Tell whether an address is globally routed unicast, and no other address in disguise."""
    if isinstance(address, IPv6Address) and (address not in _UNICAST_6 or address.scope_id):
        return False  # Mapped, compatible, NAT64, unique local, link-local, multicast …
    if any(address.version == net.version and address in net for net in _FORBIDDEN):
        return False
    return address.is_global and not address.is_multicast


def parse_url(url: str) -> Target:
    """Return where a URL leads; raise EgressRefused for what only an attacker or a typo writes."""
    if len(url) > URL_SIZE_MAX or not url.isascii() or not url.isprintable():
        raise EgressRefused(f"a URL has at most {URL_SIZE_MAX} printable ASCII characters")
    if any(sign in url for sign in ' \\"<>^`{|}'):
        raise EgressRefused("the URL has characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefused("the URL cannot be read") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise EgressRefused("a URL begins with https://")
    if "@" in parts.netloc or "%" in parts.netloc or "#" in url:
        raise EgressRefused("a URL has no user, no fragment, and no % in its host")
    host = (parts.hostname or "").removesuffix(".")
    if parts.netloc.startswith("[") or not _HOST.fullmatch(host):
        _literal(host)
    return Target(parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port)


def _literal(host: str) -> Address:
    """Return the address that a host is; raise EgressRefused for an unusual spelling of one."""
    try:
        address = ip_address(host)
    except ValueError:
        raise EgressRefused("the host is neither a name nor an address as usual") from None
    return address


def is_target(target: Target, host: str | None, port: int | None) -> bool:
    """Tell whether another reading of the URL leads to the same place."""
    found = (host or "").lower().removesuffix(".")
    try:
        return port == target.port and ip_address(found) == ip_address(target.host)
    except ValueError:
        return port == target.port and found == target.host


class Egress:
    """Turns URLs into addresses that may be connected to."""

    def __init__(self, policy: EgressPolicy, lookup: Lookup | None = None) -> None:
        self._policy = policy
        self._lookup = lookup or SystemLookup()

    async def resolve(self, url: str) -> tuple[Target, tuple[str, ...]]:
        """Return the target and its checked addresses, asked for once.

        Raise EgressRefused if any of them may not be reached, OSError if there are none.
        """
        target = parse_url(url)
        try:
            found: Sequence[str] = [str(ip_address(target.host))]
        except ValueError:
            found = await self._lookup(target.host, target.port)
        addresses = [ip_address(text.partition("%")[0]) for text in found]
        for address in addresses:
            self._policy.check(address, target)
        if not addresses:
            raise OSError("the host has no address")
        return target, tuple(str(address) for address in addresses)


class SystemLookup:
    """Asks the system's resolver, in threads of its own: names that hang for many seconds would
    fill the loop's few, and everybody else would wait."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _ask, host, port)


def _ask(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
