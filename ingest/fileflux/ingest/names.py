"""The names in a request: which ones can exist, and which error the others get.

Bucket names are S3's, so that each one is also a host name. A key is bytes: any UTF-8 of 1 to 1,024
bytes, NUL and `..` included, stored and returned as it came; no path is ever made of it. Of our own
REST endpoints most have an underscore, which no bucket has; `PUT /upload/…` and `GET /authenticate`
are told from a bucket of that name by method and length of the path.
"""

import re
from typing import Final

from fileflux.core.ids import UploadId, parse_id
from fileflux.core.model import PARTS_MAX
from fileflux.ingest.parsed_request import KEY_SIZE_BYTES_MAX
from fileflux.ingest.s3_errors import S3Error, invalid_argument

BUCKET_NAME_SIZE_MIN: Final = 3
BUCKET_NAME_SIZE_MAX: Final = 63
RESERVED_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
RESERVED_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
NULL_VERSION: Final = "null"
"""The version id of an object in a bucket without versioning."""

_LABEL: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_BUCKET_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_IP_ADDRESS: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_UPLOAD_ID: Final = re.compile("[0-9a-f]{32}")
_PART_NUMBER: Final = re.compile("[0-9]{1,5}")


def check_bucket_name(name: str) -> None:
    """Raise InvalidBucketName for a name that no bucket can have."""
    if not is_bucket_name(name):
        raise S3Error("InvalidBucketName", extra={"BucketName": name[:255]})


def is_bucket_name(name: str) -> bool:
    """Tell whether S3's rules allow a general purpose bucket of this name."""
    return (
        BUCKET_NAME_SIZE_MIN <= len(name) <= BUCKET_NAME_SIZE_MAX
        and _BUCKET_NAME.fullmatch(name) is not None
        and _IP_ADDRESS.fullmatch(name) is None
        and not name.startswith(RESERVED_PREFIXES)
        and not name.endswith(RESERVED_SUFFIXES)
    )


def check_key(key: bytes) -> None:
    """Raise for bytes that no key can be: none, too many, or not UTF-8."""
    if not key:
        raise S3Error("UserKeyMustBeSpecified")
    if len(key) > KEY_SIZE_BYTES_MAX:
        sizes = {"Size": str(len(key)), "MaxSizeAllowed": str(KEY_SIZE_BYTES_MAX)}
        raise S3Error("KeyTooLongError", extra=sizes)
    try:
        key.decode("utf-8")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", "The key is not UTF-8.") from None


def check_version_id(version_id: str | None) -> None:
    """Raise unless the current version is meant: nothing is kept of the others."""
    if version_id == "":
        raise invalid_argument("Version id cannot be the empty string", "versionId", "")
    if version_id is not None and version_id != NULL_VERSION:
        raise S3Error("NoSuchVersion", extra={"VersionId": version_id[:255]})


def parse_upload_id(text: str | None) -> UploadId:
    """Return the id of a multipart upload; one that we cannot have made is NoSuchUpload."""
    if text is None or _UPLOAD_ID.fullmatch(text) is None:
        raise S3Error("NoSuchUpload", extra={"UploadId": (text or "")[:255]})
    return UploadId(parse_id(text))


def parse_part_number(text: str | None) -> int:
    """Return a part number, 1 to 10,000; raise InvalidArgument for anything else."""
    if text is not None and _PART_NUMBER.fullmatch(text) and 1 <= int(text) <= PARTS_MAX:
        return int(text)
    message = f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
    raise invalid_argument(message, "partNumber", text or "")
