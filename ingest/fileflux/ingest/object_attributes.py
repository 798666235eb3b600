"""GetObjectAttributes: what an object is, without its bytes, as far as the client asks.

Its parts are those of the upload that made it. Of a part the size is known here; its own checksum
left with the upload, so none is claimed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.core.model import PARTS_MAX
from fileflux.ingest.listing import KEYS_MAX
from fileflux.ingest.s3_errors import invalid_argument
from fileflux.ingest.s3_xml import checksum_elements
from fileflux.ingest.xml_text import document, element, flag
from fileflux.metadata.rows import ObjectRow

HEADER: Final = "x-amz-object-attributes"
KNOWN: Final = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


@dataclass(frozen=True, slots=True)
class AttributesQuery:
    """Which attributes, and which page of the parts: those with numbers above `after`."""

    wanted: frozenset[str]
    after: int
    max_parts: int


def attributes_query(headers: Mapping[str, str]) -> AttributesQuery:
    """Read the headers of a GetObjectAttributes."""
    wanted = frozenset(name.strip() for name in headers.get(HEADER, "").split(","))
    if not wanted <= set(KNOWN):
        message = "Invalid attribute name specified."
        raise invalid_argument(message, HEADER, headers.get(HEADER, ""))
    return AttributesQuery(
        wanted,
        after=_number(headers, "x-amz-part-number-marker", default=0, maximum=PARTS_MAX),
        max_parts=_number(headers, "x-amz-max-parts", default=KEYS_MAX, maximum=KEYS_MAX),
    )


def attributes_result(row: ObjectRow, query: AttributesQuery) -> bytes:
    """Here the entity tag has no quotes; so it is in S3."""
    elements: Mapping[str, str] = {
        "ETag": element("ETag", row.etag),
        "Checksum": _checksum(row),
        "ObjectParts": _object_parts(row.manifest.parts, query),
        "StorageClass": element("StorageClass", "STANDARD"),
        "ObjectSize": element("ObjectSize", row.size),
    }
    content = [elements[name] for name in KNOWN if name in query.wanted]
    return document("GetObjectAttributesResponse", content)


def _number(headers: Mapping[str, str], name: str, *, default: int, maximum: int) -> int:
    value = headers.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise invalid_argument("Not a number.", name, value)
    return min(int(value), maximum)


def _checksum(row: ObjectRow) -> str:
    content = "".join(checksum_elements(row.meta.checksums, row.meta.checksum_type))
    return f"<Checksum>{content}</Checksum>" if content else ""


def _object_parts(parts: Sequence[tuple[int, int]], query: AttributesQuery) -> str:
    if not parts:
        return ""
    behind = [part for part in parts if part[0] > query.after]
    shown = behind[: query.max_parts]
    content = [
        element("PartsCount", len(parts)),
        element("PartNumberMarker", query.after),
        element("NextPartNumberMarker", shown[-1][0] if shown else query.after),
        element("MaxParts", query.max_parts),
        flag("IsTruncated", len(behind) > len(shown)),
        *(
            f"<Part>{element('PartNumber', number)}{element('Size', size)}</Part>"
            for number, size in shown
        ),
    ]
    return f"<ObjectParts>{''.join(content)}</ObjectParts>"
