"""Records ⇄ S3's XML, but for listings (`s3_listings`).

What comes in is read strictly: which keys go and which parts make an object must have one meaning.
What goes out names times in whole seconds and entity tags in quotes, as S3 does.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fileflux.core.changes import CompletedPart
from fileflux.core.checksum import S3_ALGORITHMS
from fileflux.core.model import PARTS_MAX
from fileflux.ingest.operations import SMALL_XML_BYTES_MAX, XML_BYTES_MAX
from fileflux.ingest.s3_errors import S3Error, invalid_argument
from fileflux.ingest.xml_reader import LACKING, TEXT, Node, Shape, malformed, read_xml
from fileflux.ingest.xml_text import document, element, key_text, optional, person, text, timestamp

DELETE_KEYS_MAX: Final = 1000
US_EAST_1: Final = "us-east-1"
_PART_NUMBER: Final = re.compile("[0-9]{1,9}")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_NEW_ALGORITHMS: Final = ("MD5", "SHA512", "XXHASH3", "XXHASH64", "XXHASH128")

_CREATE_BUCKET: Final = Shape(
    {"LocationConstraint": TEXT, "Location": LACKING, "Bucket": LACKING, "Tags": LACKING}
)
_DELETED_OBJECT: Final = Shape(
    {"Key": TEXT, "VersionId": TEXT, "ETag": TEXT, "LastModifiedTime": LACKING, "Size": LACKING},
    count_max=DELETE_KEYS_MAX,
)
_DELETE: Final = Shape({"Object": _DELETED_OBJECT, "Quiet": TEXT})
_PART: Final = Shape(
    {
        "PartNumber": TEXT,
        "ETag": TEXT,
        **{f"Checksum{algorithm}": TEXT for algorithm in S3_ALGORITHMS},
        **{f"Checksum{algorithm}": LACKING for algorithm in _NEW_ALGORITHMS},
    },
    count_max=PARTS_MAX,
)
_COMPLETE: Final = Shape({"Part": _PART})


@dataclass(frozen=True, slots=True)
class ListedBucket:
    name: str
    created_us: int


@dataclass(frozen=True, slots=True)
class KeyToDelete:
    """`version_id`, `etag` (without quotes): None if not given."""

    key: bytes
    version_id: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """`quiet`: only failures are answered."""

    keys: tuple[KeyToDelete, ...]
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class DeletedKey:
    key: bytes


@dataclass(frozen=True, slots=True)
class DeleteFailure:
    key: bytes
    code: str
    message: str


def parse_create_bucket(body: bytes, *, size_max: int = SMALL_XML_BYTES_MAX) -> str | None:
    """Return the location constraint, None if there is none."""
    if not body:
        return None
    root = read_xml(body, "CreateBucketConfiguration", _CREATE_BUCKET, size_max=size_max)
    return (root.value("LocationConstraint") or "").strip() or None


def parse_delete(body: bytes, *, size_max: int = XML_BYTES_MAX) -> DeleteRequest:
    """Return what DeleteObjects is to remove: 1 to 1,000 keys. Their sizes are not checked."""
    root = read_xml(_given(body), "Delete", _DELETE, size_max=size_max)
    keys = tuple(_key_to_delete(node) for node in root.all("Object"))
    if not keys:
        raise malformed("There must be an Object.")
    quiet = (root.value("Quiet") or "false").strip().lower()
    if quiet not in _BOOLEANS:
        raise malformed("Quiet is true or false.")
    return DeleteRequest(keys, _BOOLEANS[quiet])


def parse_complete(body: bytes, *, size_max: int = XML_BYTES_MAX) -> tuple[CompletedPart, ...]:
    """Return the parts that make an object, 1 to 10,000 of them in ascending order."""
    root = read_xml(_given(body), "CompleteMultipartUpload", _COMPLETE, size_max=size_max)
    parts = tuple(_completed_part(node) for node in root.all("Part"))
    if not parts:
        raise malformed("You must specify at least one part")
    numbers = [part.part_number for part in parts]
    if any(after <= before for before, after in pairwise(numbers)):
        raise S3Error("InvalidPartOrder")
    return parts


def list_buckets_result(
    buckets: Iterable[ListedBucket],
    *,
    owner_id: str,
    owner_name: str,
    region: str = "",
    prefix: str = "",
    next_token: str | None = None,
) -> bytes:
    """`next_token`: of `listing.buckets_page`."""
    listed = "".join(
        f"<Bucket>{element('Name', each.name)}"
        f"{element('CreationDate', timestamp(each.created_us))}"
        f"{optional('BucketRegion', region)}</Bucket>"
        for each in buckets
    )
    content = (
        person("Owner", owner_id, owner_name),
        f"<Buckets>{listed}</Buckets>",
        optional("ContinuationToken", next_token),
        optional("Prefix", prefix),
    )
    return document("ListAllMyBucketsResult", content)


def location_result(region: str) -> bytes:
    """S3's first region has no name here."""
    return document("LocationConstraint", [text("" if region == US_EAST_1 else region)])


def versioning_result() -> bytes:
    """Versioning was never switched on."""
    return document("VersioningConfiguration", [])


def copy_object_result(
    etag: str, modified_us: int, *, checksums: Mapping[str, str], checksum_type: str = ""
) -> bytes:
    """What CopyObject answers; its status came before, so errors may follow in its place."""
    content = [element("LastModified", timestamp(modified_us)), etag_element(etag)]
    return document("CopyObjectResult", [*content, *checksum_elements(checksums, checksum_type)])


def copy_part_result(etag: str, modified_us: int, *, checksums: Mapping[str, str]) -> bytes:
    content = [element("LastModified", timestamp(modified_us)), etag_element(etag)]
    return document("CopyPartResult", [*content, *checksum_elements(checksums)])


def create_multipart_result(bucket: str, key: bytes, upload_id: str) -> bytes:
    content = [_bucket(bucket), _key(key), element("UploadId", upload_id)]
    return document("InitiateMultipartUploadResult", content)


def complete_multipart_result(
    bucket: str,
    key: bytes,
    etag: str,
    *,
    location: str,
    checksums: Mapping[str, str],
    checksum_type: str = "",
) -> bytes:
    """`location`: the object's URL."""
    content = [element("Location", location), _bucket(bucket), _key(key), etag_element(etag)]
    content += checksum_elements(checksums, checksum_type)
    return document("CompleteMultipartUploadResult", content)


def delete_result(deleted: Iterable[DeletedKey], failures: Iterable[DeleteFailure]) -> bytes:
    """A quiet client hears of failures only: the caller leaves `deleted` out."""
    content = [f"<Deleted>{_key(each.key)}</Deleted>" for each in deleted]
    content += [
        f"<Error>{_key(each.key)}{element('Code', each.code)}"
        f"{element('Message', each.message)}</Error>"
        for each in failures
    ]
    return document("DeleteResult", content)


def etag_element(etag: str) -> str:
    return element("ETag", f'"{etag}"')


def checksum_elements(checksums: Mapping[str, str], checksum_type: str = "") -> Sequence[str]:
    """Return `ChecksumCRC32 …` and `ChecksumType`, nothing if there are no checksums."""
    if not checksums:
        return ()
    found = [element(f"Checksum{name}", value) for name, value in checksums.items()]
    return (*found, optional("ChecksumType", checksum_type))


def _bucket(name: str) -> str:
    return element("Bucket", name)


def _key(key: bytes) -> str:
    return f"<Key>{key_text(key)}</Key>"


def _given(body: bytes) -> bytes:
    if not body:
        raise S3Error("MissingRequestBodyError")
    return body


def _key_to_delete(node: Node) -> KeyToDelete:
    key = node.value("Key")
    if key is None:
        raise malformed("An Object must have a Key.")
    if not key:
        raise S3Error("UserKeyMustBeSpecified")
    etag = node.value("ETag")
    return KeyToDelete(
        key=key.encode("utf-8"),
        version_id=node.value("VersionId") or None,
        etag=None if etag is None else _unquoted(etag),
    )


def _completed_part(node: Node) -> CompletedPart:
    number, etag = (node.value("PartNumber") or "").strip(), node.value("ETag")
    if etag is None or not _PART_NUMBER.fullmatch(number):
        raise malformed("A Part must have a PartNumber and an ETag.")
    if not 1 <= int(number) <= PARTS_MAX:
        message = f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
        raise invalid_argument(message, "partNumber", number)
    checksums = {
        name.removeprefix("Checksum"): value.strip()
        for name, value in node.texts.items()
        if name.startswith("Checksum") and value
    }
    return CompletedPart(int(number), _unquoted(etag), checksums)


def _unquoted(etag: str) -> str:
    return etag.strip().removeprefix('"').removesuffix('"')
