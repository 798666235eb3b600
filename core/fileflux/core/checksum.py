"""Digests of streams, in the forms that S3 speaks.

A body is hashed once, on its way in, by everything that somebody will ask for later: the ETag's
MD5, the client's checksum, the signed payload's SHA-256. MD5 runs at 0.6 GB/s, so pieces are
collected and hashed in a thread while the next ones arrive; a small body is hashed where it is.
"""

import asyncio
import base64
import binascii
import enum
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from awscrt import checksums as crt

Buffer = bytes | bytearray | memoryview

THREAD_BYTES_MIN: Final = 256 * 1024
"""Hand-over to a thread costs about 0.1 ms, as much as hashing 64 KiB: worth it from here on."""


class Algorithm(enum.StrEnum):
    """The checksums of S3, by the names that its API uses, and the ETag's MD5."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"
    MD5 = "MD5"


S3_ALGORITHMS: Final = tuple(a for a in Algorithm if a is not Algorithm.MD5)
"""What a client may name in `x-amz-checksum-…`."""
FULL_OBJECT_ALGORITHMS: Final = (Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME)
"""CRCs of parts combine to the CRC of the whole; other digests of parts can only be listed."""

_SIZES: Final[Mapping[Algorithm, int]] = {
    Algorithm.CRC32: 4,
    Algorithm.CRC32C: 4,
    Algorithm.CRC64NVME: 8,
    Algorithm.SHA1: 20,
    Algorithm.SHA256: 32,
    Algorithm.MD5: 16,
}


def crc32c(data: Buffer, previous: int = 0) -> int:
    """Return the CRC32C of `data`, continuing from that of the bytes before it."""
    return int(crt.crc32c(data, previous))


class Hasher(Protocol):
    """One running digest. hashlib's objects are such hashers."""

    def update(self, data: Buffer, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    __slots__ = ("_function", "_size", "_value")

    def __init__(self, function: Callable[[Buffer, int], int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


_MAKERS: Final[Mapping[Algorithm, Callable[[], Hasher]]] = {
    Algorithm.CRC32: lambda: _Crc(zlib.crc32, 4),
    Algorithm.CRC32C: lambda: _Crc(crt.crc32c, 4),
    Algorithm.CRC64NVME: lambda: _Crc(crt.crc64nvme, 8),
    Algorithm.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    Algorithm.SHA256: hashlib.sha256,
    Algorithm.MD5: lambda: hashlib.md5(usedforsecurity=False),
}


def hasher(algorithm: Algorithm) -> Hasher:
    """Return a fresh digest."""
    return _MAKERS[algorithm]()


class DigestSet:
    """Several digests of one stream, each byte looked at once, in order.

    At most two batches of `THREAD_BYTES_MIN` plus one piece are held: one being hashed in a
    thread, one being collected. Only one task may use a set at a time.
    """

    def __init__(self, algorithms: Iterable[Algorithm]) -> None:
        self._hashers = {algorithm: hasher(algorithm) for algorithm in algorithms}
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def update(self, piece: Buffer) -> None:
        """Take the next bytes of the stream; they must not change afterwards."""
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes >= THREAD_BYTES_MIN:
            await self._settle()
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(None, self._hash, self._take_waiting())

    async def finish(self) -> dict[Algorithm, bytes]:
        """Return all digests of the bytes so far."""
        await self._settle()
        self._hash(self._take_waiting())
        return {algorithm: each.digest() for algorithm, each in self._hashers.items()}

    async def _settle(self) -> None:
        # Forgotten only once it is done: a cancelled `update` leaves order to the next one.
        if self._running is not None:
            await asyncio.shield(self._running)
            self._running = None

    def _take_waiting(self) -> list[Buffer]:
        pieces, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return pieces

    def _hash(self, pieces: list[Buffer]) -> None:
        for each in self._hashers.values():
            for piece in pieces:
                each.update(piece)


def to_base64(digest: bytes) -> str:
    """Return the form that S3 uses in headers, XML and rows."""
    return base64.b64encode(digest).decode("ascii")


def from_base64(algorithm: Algorithm, text: str) -> bytes:
    """Return the digest that `text` stands for; raise ValueError if it cannot be one."""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{algorithm} is not base64") from error
    if len(digest) != _SIZES[algorithm] or to_base64(digest) != text:
        raise ValueError(f"{algorithm} has {_SIZES[algorithm]} bytes")
    return digest


_COMBINERS: Final[Mapping[Algorithm, Callable[[int, int, int], int]]] = {
    Algorithm.CRC32: crt.combine_crc32,
    Algorithm.CRC32C: crt.combine_crc32c,
    Algorithm.CRC64NVME: crt.combine_crc64nvme,
}


def full_object_checksum(algorithm: Algorithm, parts: Iterable[tuple[str, int]]) -> str:
    """Return the checksum of the joined parts, each given as (checksum, size).

    Raise ValueError for an algorithm whose digests do not combine.
    """
    combine = _COMBINERS.get(algorithm)
    if combine is None:
        raise ValueError(f"{algorithm} has no full-object form")
    whole = 0
    for text, size in parts:
        whole = combine(whole, int.from_bytes(from_base64(algorithm, text), "big"), size)
    return to_base64(whole.to_bytes(_SIZES[algorithm], "big"))


def composite_checksum(algorithm: Algorithm, parts: Sequence[str]) -> str:
    """Return S3's checksum of checksums, `<base64>-<number of parts>`.

    Raise ValueError for CRC64NVME, which S3 knows for full objects only.
    """
    if algorithm is Algorithm.CRC64NVME:
        raise ValueError("CRC64NVME has no composite form")
    outer = hasher(algorithm)
    for text in parts:
        outer.update(from_base64(algorithm, text))
    return f"{to_base64(outer.digest())}-{len(parts)}"
