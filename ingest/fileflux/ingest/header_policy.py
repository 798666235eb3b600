"""Which `x-amz-…` headers FileFlux understands; every other one is refused by its name.

A header that is passed over is a wish that silently did not come true: an object that should have
been encrypted or locked. So the list is of what is known to be harmless or handled, and what a
future S3 adds is refused until somebody has thought about it.
"""

from collections.abc import Mapping
from typing import Final

from fileflux.ingest.payload_mode import CHECKSUM_HEADERS
from fileflux.ingest.s3_errors import S3Error, invalid_argument, not_implemented_header

USER_PREFIX: Final = "x-amz-meta-"
UNDERSTOOD: Final = frozenset(
    (
        "x-amz-acl",
        "x-amz-bucket-object-lock-enabled",
        "x-amz-checksum-algorithm",
        "x-amz-checksum-mode",
        "x-amz-checksum-type",
        "x-amz-content-sha256",
        "x-amz-copy-source",
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-none-match",
        "x-amz-copy-source-if-unmodified-since",
        "x-amz-copy-source-range",
        "x-amz-date",
        "x-amz-decoded-content-length",
        "x-amz-max-parts",
        "x-amz-metadata-directive",
        "x-amz-mp-object-size",
        "x-amz-object-attributes",
        "x-amz-object-ownership",
        "x-amz-optional-object-attributes",
        "x-amz-part-number-marker",
        "x-amz-request-payer",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-security-token",
        "x-amz-skip-destination-validation",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-tagging-directive",
        "x-amz-trailer",
        "x-amz-user-agent",
        *CHECKSUM_HEADERS,
    )
)
HARMLESS_VALUES: Final[Mapping[str, frozenset[str]]] = {
    "x-amz-acl": frozenset(("private", "bucket-owner-full-control")),
    "x-amz-bucket-object-lock-enabled": frozenset(("false",)),
    "x-amz-object-ownership": frozenset(("BucketOwnerEnforced",)),
    "x-amz-skip-destination-validation": frozenset(("true", "false")),
    "x-amz-tagging": frozenset(("",)),
    "x-amz-tagging-directive": frozenset(("COPY", "REPLACE")),
}
"""Headers understood with these values only: they ask for what is the case anyway."""
STORAGE_CLASS: Final = "x-amz-storage-class"
S3_STORAGE_CLASSES: Final = frozenset(
    (
        "DEEP_ARCHIVE",
        "EXPRESS_ONEZONE",
        "GLACIER",
        "GLACIER_IR",
        "INTELLIGENT_TIERING",
        "ONEZONE_IA",
        "OUTPOSTS",
        "REDUCED_REDUNDANCY",
        "SNOW",
        "STANDARD_IA",
    )
)


def refuse_unimplemented(headers: Mapping[str, str]) -> None:
    """Raise NotImplemented naming the first header whose wish would not come true.

    For every request: reads can ask for encryption, too.
    """
    for name, value in headers.items():
        if name.startswith("x-amz-") and not _is_understood(name, value):
            raise not_implemented_header(name[:100])
    _check_storage_class(headers.get(STORAGE_CLASS))


def _is_understood(name: str, value: str) -> bool:
    if name.startswith(USER_PREFIX):
        return True
    return name in UNDERSTOOD and value in HARMLESS_VALUES.get(name, (value,))


def _check_storage_class(value: str | None) -> None:
    if value in (None, "STANDARD"):
        return
    if value in S3_STORAGE_CLASSES:
        raise not_implemented_header(STORAGE_CLASS)
    raise S3Error("InvalidStorageClass", extra={"StorageClassRequested": (value or "")[:100]})


def replaces_metadata(headers: Mapping[str, str]) -> bool:
    """Return whether a copy takes its metadata from the request instead of from the source."""
    value = headers.get("x-amz-metadata-directive", "COPY")
    if value not in ("COPY", "REPLACE"):
        message = "Unknown metadata directive."
        raise invalid_argument(message, "x-amz-metadata-directive", value)
    return value == "REPLACE"
