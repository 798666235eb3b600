"""The body of a request becomes plain, verified bytes: framing, length, digests, pace.

Pieces are handed on as they come, so that a large upload flows while it is hashed. **The body is
verified when the iteration has ended without an exception**, not before; then `result` says what
it was. Whoever stages the pieces commits after that.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.checksum import THREAD_BYTES_MIN, Algorithm, Buffer, DigestSet, to_base64
from fileflux.core.clock import Clock
from fileflux.ingest.auth_errors import (
    BadDigest,
    IncompleteBody,
    InvalidRequest,
    XAmzContentSHA256Mismatch,
)
from fileflux.ingest.aws_chunked import AwsChunkedDecoder
from fileflux.ingest.body_plan import BodyLimits, BodyPlan, checked_value, plan_body, too_large
from fileflux.ingest.pace import PacedStream
from fileflux.ingest.payload_mode import PayloadKind, PayloadMode

DEFAULT_LIMITS: Final = BodyLimits()


@dataclass(frozen=True, slots=True)
class BodyResult:
    """What a verified body was. `checksums`: algorithm → base64, the client's choice or ours."""

    size: int
    md5_hex: str
    checksums: Mapping[str, str]
    is_checksum_from_client: bool


class BodyReader:
    """Iterate once over the plain bytes; afterwards `result` is there.

    Making one checks the headers. Both raise an S3RequestError.
    """

    def __init__(
        self,
        stream: AsyncIterator[bytes],
        payload: PayloadMode,
        headers: Mapping[str, str],
        *,
        clock: Clock,
        limits: BodyLimits = DEFAULT_LIMITS,
        default_algorithm: Algorithm = Algorithm.CRC64NVME,
    ) -> None:
        self.plan: Final[BodyPlan] = plan_body(headers, payload, limits)
        self._payload = payload
        self._limits = limits
        self._algorithm = self.plan.algorithm or default_algorithm
        self._stream = PacedStream(stream, clock, limits)
        self._decoder = AwsChunkedDecoder(payload) if payload.kind.is_chunked else None
        self._digests = DigestSet(self._wanted_digests())
        self._size = 0
        self._result: BodyResult | None = None

    @property
    def result(self) -> BodyResult:
        """What the body was. Only after the iteration has ended."""
        assert self._result is not None, "the body has not been read to its end"
        return self._result

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        while (data := await self._stream.next_piece()) is not None:
            for piece in await self._decode(data):
                self._count(len(piece))
                await self._digests.update(piece)
                yield piece
        self._result = await self._verify()

    def _wanted_digests(self) -> set[Algorithm]:
        wanted = {Algorithm.MD5, self._algorithm}
        if self._payload.kind is PayloadKind.HASH:
            wanted.add(Algorithm.SHA256)
        return wanted

    async def _decode(self, data: bytes) -> list[memoryview] | list[bytes]:
        if self._decoder is None:
            return [data] if data else []
        if self._payload.signer and len(data) >= THREAD_BYTES_MIN:
            return await asyncio.to_thread(self._decoder.feed, data)
        return self._decoder.feed(data)

    def _count(self, piece_bytes: int) -> None:
        self._size += piece_bytes
        size = self.plan.size
        if size is not None and self._size > size:
            raise InvalidRequest("The body is longer than its headers say.")
        if self._size > self._limits.size_bytes_max:
            raise too_large(self._size, self._limits)

    async def _verify(self) -> BodyResult:
        """Compare what came with everything that was promised."""
        trailer = self._decoder.finish() if self._decoder else None
        if self.plan.size is not None and self._size != self.plan.size:
            raise IncompleteBody
        digests = await self._digests.finish()
        self._check_payload_hash(digests)
        md5 = digests[Algorithm.MD5]
        if self.plan.md5 is not None and not hmac.compare_digest(md5, self.plan.md5):
            raise BadDigest("The Content-MD5 you specified did not match what we received.")
        checksum = to_base64(digests[self._algorithm])
        self._check_checksum(checksum, trailer)
        checksums = {self._algorithm.value: checksum}
        return BodyResult(self._size, md5.hex(), checksums, self.plan.algorithm is not None)

    def _check_payload_hash(self, digests: Mapping[Algorithm, bytes]) -> None:
        if self._payload.kind is PayloadKind.HASH:
            computed = digests[Algorithm.SHA256].hex()
            if not hmac.compare_digest(computed, self._payload.sha256):
                raise XAmzContentSHA256Mismatch(
                    extra={
                        "ClientComputedContentSHA256": self._payload.sha256,
                        "S3ComputedContentSHA256": computed,
                    }
                )

    def _check_checksum(self, computed: str, trailer: str | None) -> None:
        promised = self.plan.checksum
        if trailer is not None:
            promised = checked_value(self._algorithm, trailer)
        if promised is not None and not hmac.compare_digest(computed, promised):
            raise BadDigest(
                f"The {self._algorithm} you specified did not match the calculated checksum."
            )
