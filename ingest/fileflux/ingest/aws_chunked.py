"""Decode aws-chunked bodies: size lines, payload, signatures that chain, a trailer at the end.

Pure: bytes in, bytes out, split anywhere. Payload is handed on as it comes, before the signature
of its chunk is known; **nothing that was handed on is verified until `finish()` has returned**.
Whoever stores it must not commit before that. So no chunk is ever held, however large.
"""

import enum
import hashlib
from typing import Final

from fileflux.ingest.auth_errors import (
    IncompleteBody,
    InvalidChunkSize,
    InvalidRequest,
    MalformedTrailer,
    S3RequestError,
    SignatureDoesNotMatch,
)
from fileflux.ingest.payload_mode import PayloadMode, checksum_header
from fileflux.ingest.sigv4 import is_same

SIZE_LINE_BYTES_MAX: Final = 1024
TRAILER_BYTES_MAX: Final = 16 * 1024
CHUNKS_EXTRA_MAX: Final = 1024
CHUNK_BYTES_MEAN_MIN: Final = 1024
"""S3 wants 8 KiB in each chunk but the last. Some clients send what a pipe gave them, so we bound
the mean: a size line costs as much to check as many kilobytes of payload."""
_SIGNATURE_PREFIX: Final = b"chunk-signature="
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"
_SIZE_DIGITS_MAX: Final = 16
_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_LINE_END: Final = b"\r\n"


class _State(enum.Enum):
    SIZE = enum.auto()
    PAYLOAD = enum.auto()
    PAYLOAD_END = enum.auto()
    TRAILER = enum.auto()
    LONE_LINE_END = enum.auto()
    END = enum.auto()


class AwsChunkedDecoder:
    """One body. `feed` its bytes, then `finish`; both raise an S3RequestError."""

    def __init__(self, mode: PayloadMode) -> None:
        assert mode.decoded_length is not None, mode.kind
        assert mode.kind.is_chunk_signed == (mode.signer is not None), mode.kind
        self._signer = mode.signer
        self._previous = mode.signer.seed if mode.signer else ""
        self._trailer_name = checksum_header(mode.trailer) if mode.trailer else ""
        self._remaining = mode.decoded_length
        self._chunks_left = CHUNKS_EXTRA_MAX + mode.decoded_length // CHUNK_BYTES_MEAN_MIN
        self._state = _State.SIZE
        self._line = bytearray()
        self._chunk_left = 0
        self._chunk_signature = ""
        self._chunk_hash = hashlib.sha256()
        self._trailer_left = TRAILER_BYTES_MAX
        self._trailer: dict[str, str] = {}

    def feed(self, data: bytes) -> list[memoryview]:
        """Return the payload in `data`, as views of it: not verified yet."""
        pieces: list[memoryview] = []
        at = 0
        while at < len(data):
            if self._state is _State.PAYLOAD:
                piece = memoryview(data)[at : at + self._chunk_left]
                self._take_payload(piece)
                pieces.append(piece)
                at += len(piece)
            else:
                at = self._take_line_of(data, at)
        return pieces

    def finish(self) -> str | None:
        """Return the checksum that the trailer held, if one was declared. All is verified now."""
        if self._state is not _State.END:
            raise IncompleteBody("The aws-chunked body ended before its last chunk was complete.")
        return self._trailer.get(self._trailer_name) if self._trailer_name else None

    def _take_payload(self, piece: memoryview) -> None:
        if self._signer:
            self._chunk_hash.update(piece)
        self._chunk_left -= len(piece)
        if not self._chunk_left:
            self._end_chunk()
            self._state = _State.PAYLOAD_END

    def _take_line_of(self, data: bytes, at: int) -> int:
        """Move to behind the next line end, or keep what is there of the line."""
        room = self._line_bytes_max() - len(self._line)
        end = data.find(b"\n", at, at + room) + 1
        self._line += data[at : end or at + room]
        if end:
            line, self._line = bytes(self._line), bytearray()
            self._take_line(line)
            return end
        if at + room <= len(data):
            raise self._malformed()
        return len(data)

    def _line_bytes_max(self) -> int:
        match self._state:
            case _State.SIZE:
                return SIZE_LINE_BYTES_MAX
            case _State.TRAILER:
                return self._trailer_left
            case _State.END:
                raise InvalidRequest("The body has extra bytes after its last chunk.")
            case _:
                return len(_LINE_END)

    def _malformed(self) -> S3RequestError:
        match self._state:
            case _State.SIZE:
                return InvalidRequest("A chunk's size line is malformed.")
            case _State.PAYLOAD_END:
                return InvalidRequest("A chunk is longer than its size line says.")
            case _:
                return MalformedTrailer()

    def _take_line(self, line: bytes) -> None:
        match self._state:
            case _State.SIZE:
                self._begin_chunk(line)
            case _State.TRAILER:
                self._take_trailer_line(line)
            case _ if line != _LINE_END:
                raise self._malformed()
            case _State.PAYLOAD_END:
                self._state = _State.SIZE
            case _:
                self._state = _State.TRAILER

    def _begin_chunk(self, line: bytes) -> None:
        size, self._chunk_signature = self._parse_size_line(line)
        if size > self._remaining:
            raise InvalidRequest("The body is longer than x-amz-decoded-content-length.")
        self._remaining -= size
        self._chunk_left = size
        self._chunks_left -= 1
        if self._chunks_left < 0:
            raise InvalidChunkSize
        if size:
            self._state = _State.PAYLOAD
            return
        if self._remaining:
            raise IncompleteBody("The body is shorter than x-amz-decoded-content-length.")
        self._end_chunk()
        self._state = _State.TRAILER

    def _parse_size_line(self, line: bytes) -> tuple[int, str]:
        digits, semicolon, extension = line[:-2].partition(b";")
        is_hex = 1 <= len(digits) <= _SIZE_DIGITS_MAX and not digits.strip(_HEX_DIGITS)
        is_signed = extension.startswith(_SIGNATURE_PREFIX)
        if not is_hex or not line.endswith(_LINE_END) or bool(semicolon) != is_signed:
            raise self._malformed()
        if is_signed != (self._signer is not None):
            raise SignatureDoesNotMatch("Each chunk must be signed just as the headers announced.")
        return int(digits, 16), extension[len(_SIGNATURE_PREFIX) :].decode("latin-1")

    def _end_chunk(self) -> None:
        if self._signer:
            expected = self._signer.chunk(self._previous, self._chunk_hash.hexdigest())
            if not is_same(expected, self._chunk_signature):
                raise SignatureDoesNotMatch("The signature of a chunk does not match its bytes.")
            self._previous = expected
            self._chunk_hash = hashlib.sha256()

    def _take_trailer_line(self, line: bytes) -> None:
        self._trailer_left -= len(line)
        if line == _LINE_END:
            self._end_trailer()
            return
        is_whole = line.endswith(_LINE_END)
        name, _, value = line[: -2 if is_whole else -1].partition(b":")
        self._add_trailer(name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t"))
        if not is_whole:
            # AWS's page, and a client that follows it, end a header by a bare line feed and
            # then the line by CR LF.
            self._state = _State.LONE_LINE_END

    def _add_trailer(self, name: str, value: str) -> None:
        expected = self._trailer_name
        if self._signer and self._trailer:
            expected = _TRAILER_SIGNATURE
        if not expected or name != expected or name in self._trailer:
            raise MalformedTrailer
        self._trailer[name] = value

    def _end_trailer(self) -> None:
        name = self._trailer_name
        if name and name not in self._trailer:
            raise MalformedTrailer("The declared trailer is missing.")
        if self._signer and name:
            canonical = f"{name}:{self._trailer[name]}\n".encode("latin-1")
            expected = self._signer.trailer(self._previous, hashlib.sha256(canonical).hexdigest())
            if not is_same(expected, self._trailer.get(_TRAILER_SIGNATURE, "")):
                raise SignatureDoesNotMatch("The signature of the trailer does not match it.")
        self._state = _State.END
