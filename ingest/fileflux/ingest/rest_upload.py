"""The REST upload: multipart/form-data whose field `file` holds the bytes, streamed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fileflux.core.changes import PutObject
from fileflux.core.checksum import Algorithm, DigestSet, to_base64
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.ingest.body import BodyReader
from fileflux.ingest.call import Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.put_object import settled
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.upload_target import object_target

FIELD: Final = b"file"
FIELD_NAME_SIZE_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class StoredFile:
    etag: str
    size: int


@dataclass(slots=True)
class _Form:
    """What the parser found so far."""

    pieces: list[bytes] = field(default_factory=list)
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    content_type: str = ""
    is_in_file: bool = False
    was_found: bool = False
    is_at_end: bool = False


async def put_form_file(call: Call, deps: Dependencies, key: bytes) -> StoredFile:
    """Store the form's file under `key`; raise InvalidRequest for a form without one."""
    form = _Form()
    body = call.body(deps.clock)
    digests = DigestSet({Algorithm.MD5, Algorithm.CRC64NVME})
    target = object_target(call, deps, key)
    made: dict[Algorithm, bytes] = {}

    def finish(size: int, manifest: Manifest) -> PutObject:
        etag = made[Algorithm.MD5].hex()
        return target.put_object(size, manifest, etag=etag, meta=_meta(form, made))

    async with deps.admission.upload(body.plan.size, target.storage_class):
        pieces = _file_pieces(call, body, form, digests, made)
        outcome = await deps.engine.write(pieces, intent=target.intent(), finish=finish)
    outcome = settled(call, deps, outcome)
    return StoredFile(outcome.etag, outcome.size)


def _meta(form: _Form, made: dict[Algorithm, bytes]) -> ObjectMeta:
    headers = {"content-type": form.content_type} if form.content_type else {}
    algorithm = Algorithm.CRC64NVME
    return ObjectMeta(headers=headers, checksums={algorithm.value: to_base64(made[algorithm])})


async def _file_pieces(
    call: Call, body: BodyReader, form: _Form, digests: DigestSet, made: dict[Algorithm, bytes]
) -> AsyncIterator[bytes]:
    """Yield the file's bytes; at the end the digests are made and the form was whole."""
    parser = MultipartParser(_boundary(call), _callbacks(form))
    try:
        async for piece in body:
            parser.write(bytes(piece))
            for found in form.pieces:
                await digests.update(found)
                yield found
            form.pieces.clear()
    except FormParserError:
        raise S3Error("InvalidRequest", "The body is no well-formed multipart/form-data.") from None
    if not (form.was_found and form.is_at_end):
        raise S3Error("InvalidRequest", "The form has no field 'file', or does not end.")
    made.update(await digests.finish())


def _boundary(call: Call) -> bytes:
    kind, options = parse_options_header(call.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary or len(boundary) > 256:
        raise S3Error("InvalidRequest", "Send multipart/form-data with the bytes in 'file'.")
    return boundary


def _callbacks(form: _Form) -> Any:
    def on_header_field(data: bytes, start: int, end: int) -> None:
        form.header += data[start:end][:FIELD_NAME_SIZE_MAX]

    def on_header_value(data: bytes, start: int, end: int) -> None:
        form.value += data[start:end][: 4 * FIELD_NAME_SIZE_MAX]

    def on_header_end() -> None:
        _take_header(form, bytes(form.header).lower(), bytes(form.value))
        form.header.clear()
        form.value.clear()

    def on_part_data(data: bytes, start: int, end: int) -> None:
        if form.is_in_file:
            form.pieces.append(data[start:end])

    def on_part_end() -> None:
        form.is_in_file = False

    def on_end() -> None:
        form.is_at_end = True

    return {
        "on_header_field": on_header_field,
        "on_header_value": on_header_value,
        "on_header_end": on_header_end,
        "on_part_data": on_part_data,
        "on_part_end": on_part_end,
        "on_end": on_end,
    }


def _take_header(form: _Form, name: bytes, value: bytes) -> None:
    if name == b"content-disposition":
        _, options = parse_options_header(value)
        if options.get(b"name") == FIELD:
            if form.was_found:
                raise S3Error("InvalidRequest", "The form has two fields 'file'.")
            form.is_in_file = form.was_found = True
    elif name == b"content-type" and form.is_in_file:
        text = value.decode("latin-1").strip()
        form.content_type = text if text.isprintable() and text.isascii() else ""
