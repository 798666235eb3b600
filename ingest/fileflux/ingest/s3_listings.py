"""Listings of objects, multipart uploads and parts → S3's XML.

A page of a thousand keys is the commonest large document there is, so its entries are plain
f-strings. With `encoding-type=url` every name is percent-encoded, and the answer says so. It does
the same unasked for a page with a key that XML cannot hold: the document stays well-formed, and its
reader can tell what the key is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.model import ObjectMeta
from fileflux.ingest.listing import ListQuery, PartsQuery, UploadsQuery, encode_token
from fileflux.ingest.s3_xml import checksum_elements, etag_element
from fileflux.ingest.xml_text import (
    document,
    element,
    flag,
    is_representable,
    key_text,
    optional,
    person,
    text,
    timestamp,
    url_text,
)
from fileflux.metadata.ports import ListedKeys
from fileflux.metadata.rows import ObjectRow, PartRow, UploadRow

STORAGE_CLASS: Final = "<StorageClass>STANDARD</StorageClass>"
"""The one that S3's clients see; ours say how often content is stored."""


@dataclass(frozen=True, slots=True)
class _Names:
    """How names appear in one answer."""

    is_url_encoded: bool

    def of(self, key: bytes) -> str:
        return url_text(key) if self.is_url_encoded else key_text(key)

    def element(self, name: str, key: bytes) -> str:
        return f"<{name}>{self.of(key)}</{name}>"

    def optional(self, name: str, key: bytes | None) -> str:
        return self.element(name, key) if key else ""

    def prefixes(self, prefixes: Iterable[bytes]) -> Iterable[str]:
        for each in prefixes:
            yield f"<CommonPrefixes><Prefix>{self.of(each)}</Prefix></CommonPrefixes>"

    @property
    def encoding_type(self) -> str:
        return element("EncodingType", "url") if self.is_url_encoded else ""


def list_objects_result(
    bucket: str, query: ListQuery, page: ListedKeys, *, owner_id: str, owner_name: str
) -> bytes:
    """Both versions of the operation. A page that asks for no keys is never truncated."""
    names = _names(query.is_url_encoded, query, page)
    owner = person("Owner", owner_id, owner_name) if query.fetch_owner else ""
    is_truncated = page.truncated and query.max_keys > 0
    next_after = page.next_after if is_truncated else None
    assert next_after or not is_truncated, bucket  # A page that never ends.
    content = [
        element("Name", bucket),
        names.element("Prefix", query.prefix),
        names.optional("Delimiter", query.delimiter),
        element("MaxKeys", query.max_keys),
        names.encoding_type,
        flag("IsTruncated", is_truncated),
        *(_version_1 if query.version == 1 else _version_2)(names, query, page, next_after),
        *(_object_entry(names, row, owner) for row in page.rows),
        *names.prefixes(page.common_prefixes),
    ]
    return document("ListBucketResult", content)


def list_uploads_result(
    bucket: str,
    query: UploadsQuery,
    *,
    uploads: Sequence[UploadRow],
    common_prefixes: Sequence[bytes],
    truncated: bool,
    owner_name: str,
) -> bytes:
    """The next page begins behind the last entry, an upload or a common prefix."""
    keys = (query.prefix, query.delimiter, query.key_marker, *(row.key for row in uploads))
    is_plain = is_representable((*keys, *common_prefixes))
    names = _Names(query.is_url_encoded or not is_plain)
    is_truncated = truncated and query.max_uploads > 0
    content = [
        element("Bucket", bucket),
        names.element("KeyMarker", query.key_marker),
        element("UploadIdMarker", query.upload_marker),
        *(_next_upload(names, uploads, common_prefixes) if is_truncated else ()),
        names.optional("Prefix", query.prefix),
        names.optional("Delimiter", query.delimiter),
        element("MaxUploads", query.max_uploads),
        names.encoding_type,
        flag("IsTruncated", is_truncated),
        *(_upload_entry(names, row, owner_name) for row in uploads),
        *names.prefixes(common_prefixes),
    ]
    return document("ListMultipartUploadsResult", content)


def list_parts_result(
    bucket: str,
    upload: UploadRow,
    query: PartsQuery,
    *,
    parts: Sequence[PartRow],
    truncated: bool,
    owner_name: str,
) -> bytes:
    """`parts`: those of the page. The key cannot be encoded here; S3 has no word for it."""
    owner_id = upload.owner_id.hex()
    is_truncated = truncated and query.max_parts > 0
    next_marker = parts[-1].part_number if parts else query.after
    content = [
        element("Bucket", bucket),
        f"<Key>{key_text(upload.key)}</Key>",
        element("UploadId", upload.upload_id.hex()),
        person("Initiator", owner_id, owner_name),
        person("Owner", owner_id, owner_name),
        STORAGE_CLASS,
        element("PartNumberMarker", query.after),
        element("NextPartNumberMarker", next_marker),
        element("MaxParts", query.max_parts),
        flag("IsTruncated", is_truncated),
        optional("ChecksumAlgorithm", upload.checksum_algorithm),
        optional("ChecksumType", upload.checksum_type),
        *(_part_entry(row) for row in parts),
    ]
    return document("ListPartsResult", content)


def _names(is_asked: bool, query: ListQuery, page: ListedKeys) -> _Names:
    echoed = (query.prefix, query.delimiter, query.marker, query.start_after or b"")
    keys = (*echoed, *(row.key for row in page.rows), *page.common_prefixes)
    return _Names(is_asked or not is_representable(keys))


def _version_1(
    names: _Names, query: ListQuery, _page: ListedKeys, next_after: bytes | None
) -> Iterable[str]:
    yield names.element("Marker", query.marker)
    # S3 leaves this out when there is no delimiter, since the last key says it; ours may be a page
    # without keys.
    yield names.optional("NextMarker", next_after)


def _version_2(
    names: _Names, query: ListQuery, page: ListedKeys, next_after: bytes | None
) -> Iterable[str]:
    yield element("KeyCount", len(page.rows) + len(page.common_prefixes))
    yield names.optional("StartAfter", query.start_after)
    yield optional("ContinuationToken", query.token)
    if next_after is not None:
        yield element("NextContinuationToken", encode_token(next_after))


def _object_entry(names: _Names, row: ObjectRow, owner: str) -> str:
    return (
        f"<Contents><Key>{names.of(row.key)}</Key>"
        f"<LastModified>{timestamp(row.stamp)}</LastModified>"
        f"<ETag>&quot;{text(row.etag)}&quot;</ETag>{_checksum_names(row.meta)}"
        f"<Size>{row.size}</Size>{STORAGE_CLASS}{owner}</Contents>"
    )


def _checksum_names(meta: ObjectMeta) -> str:
    if not meta.checksums:
        return ""
    names = "".join(element("ChecksumAlgorithm", name) for name in meta.checksums)
    return f"{names}{element('ChecksumType', meta.checksum_type)}"


def _next_upload(
    names: _Names, uploads: Sequence[UploadRow], common_prefixes: Sequence[bytes]
) -> Iterable[str]:
    last_prefix = common_prefixes[-1] if common_prefixes else b""
    if uploads and uploads[-1].key > last_prefix:
        yield names.element("NextKeyMarker", uploads[-1].key)
        yield element("NextUploadIdMarker", uploads[-1].upload_id.hex())
    else:
        yield names.element("NextKeyMarker", last_prefix)
        yield element("NextUploadIdMarker", "")


def _upload_entry(names: _Names, row: UploadRow, owner_name: str) -> str:
    owner_id = row.owner_id.hex()
    return (
        f"<Upload>{names.element('Key', row.key)}{element('UploadId', row.upload_id.hex())}"
        f"{person('Initiator', owner_id, owner_name)}{person('Owner', owner_id, owner_name)}"
        f"{STORAGE_CLASS}{element('Initiated', timestamp(row.created_us))}"
        f"{optional('ChecksumAlgorithm', row.checksum_algorithm)}"
        f"{optional('ChecksumType', row.checksum_type)}</Upload>"
    )


def _part_entry(row: PartRow) -> str:
    checksums = "".join(checksum_elements(row.meta.checksums))
    return (
        f"<Part>{element('PartNumber', row.part_number)}"
        f"{element('LastModified', timestamp(row.modified_us))}{etag_element(row.etag)}"
        f"{element('Size', row.size)}{checksums}</Part>"
    )
