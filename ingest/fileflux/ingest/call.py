"""One request on its way through an operation, and the answer that the operation gives.

Operations are functions `(call, deps) -> Answer`. They raise what is wrong; `app.py` is the one
place that turns exceptions into S3's error documents.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from fileflux.core.changes import Actor
from fileflux.core.checksum import Buffer
from fileflux.core.clock import Clock
from fileflux.core.tracing import TraceContext
from fileflux.ingest.auth import Principal
from fileflux.ingest.auth_errors import EntityTooLarge
from fileflux.ingest.body import BodyReader
from fileflux.ingest.body_plan import BodyLimits
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.payload_mode import PayloadMode
from fileflux.ingest.s3_errors import S3Error
from fileflux.metadata.rows import BucketRow

XML: Final = "application/xml"
CHECKSUM_PREFIX: Final = "x-amz-checksum-"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers, and a body: bytes, or pieces whose total length is in `headers`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[Buffer] = b""

    @classmethod
    def xml(cls, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> "Answer":
        return cls(200, {"content-type": XML, **headers}, body)


@dataclass(slots=True, kw_only=True)
class Call:
    """A verified request. `stream` gives the raw body once; `is_body_read` tells whether it began.

    `bucket` is the authorized bucket of bucket and object operations. `trace`: where the request
    stands in a trace, ours or its client's.
    """

    request: ParsedRequest
    principal: Principal
    payload: PayloadMode
    request_id: str
    received_us: int
    source_address: str
    stream: AsyncIterator[bytes]
    trace: TraceContext | None = None
    bucket_row: BucketRow | None = None
    is_body_read: bool = False

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def key(self) -> bytes:
        return self.request.key

    @property
    def bucket(self) -> BucketRow:
        assert self.bucket_row is not None, "the operation has no bucket"
        return self.bucket_row

    @property
    def actor(self) -> Actor:
        return Actor(
            user_id=self.principal.user_id,
            user_name=self.principal.name,
            key_id=self.principal.access_key,
            source_address=self.source_address,
            user_agent=self.headers.get("user-agent", "")[:256],
            request_id=self.request_id,
            trace_id=self.trace.trace_id if self.trace else "",
            traceparent=self.trace.traceparent if self.trace else "",
        )

    def body(self, clock: Clock, limits: BodyLimits | None = None) -> BodyReader:
        """The verified body; its headers are checked now."""
        reader = BodyReader(
            self._read(), self.payload, self.headers, clock=clock, limits=limits or BodyLimits()
        )
        return reader

    async def small_body(
        self, clock: Clock, size_max: int, *, ignore_checksums: bool = False
    ) -> bytes:
        """A document of at most `size_max` bytes, whole and verified; MaxMessageLengthExceeded.

        `ignore_checksums`: the request's checksum headers are an object's, not this body's.
        """
        limits = BodyLimits(size_bytes_max=size_max, length_required=False)
        headers = self.headers
        if ignore_checksums:
            headers = {n: v for n, v in headers.items() if not n.startswith(CHECKSUM_PREFIX)}
        try:
            reader = BodyReader(self._read(), self.payload, headers, clock=clock, limits=limits)
            return b"".join([bytes(piece) async for piece in reader])
        except EntityTooLarge:  # That is said of objects only.
            extra = {"MaxMessageLengthBytes": str(size_max)}
            raise S3Error("MaxMessageLengthExceeded", extra=extra) from None

    async def _read(self) -> AsyncIterator[bytes]:
        self.is_body_read = True
        async for piece in self.stream:
            yield piece
