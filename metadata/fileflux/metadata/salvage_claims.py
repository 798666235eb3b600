"""Whether an upload of ours can have written what a record claims. Pure.

A record passed its CRCs, which anybody can compute. What it says becomes rows and response headers,
so it is held to what a request is held to: names, sizes, times, no control characters.
"""

import re
from typing import Final

from fileflux.core.bundle_records import ChunkMeta, UploadRecord
from fileflux.core.checksum import S3_ALGORITHMS
from fileflux.core.model import OBJECT_SIZE_BYTES_MAX, PARTS_MAX, ObjectMeta

CLOCK_SLACK_US: Final = 24 * 3600 * 1_000_000
"""A record from further ahead than this was made by no clock of ours."""
KEY_SIZE_BYTES_MAX: Final = 1_024
META_CHARACTERS_MAX: Final = 32 * 1024
ETAG_CHARACTERS_MAX: Final = 64
CONDITION_CHARACTERS_MAX: Final = 1_024

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CLASS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_ETAG: Final = re.compile(r"[!#-~]+")
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_CHECKSUM: Final = re.compile(r"[A-Za-z0-9+/]{1,88}={0,2}")
_ALGORITHMS: Final = frozenset(map(str, S3_ALGORITHMS))
_TEXT: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
_WORD: Final = re.compile(r"[A-Z0-9_]{0,32}")


def claim_problem(meta: ChunkMeta, created_us: int, now_us: int) -> str | None:
    """Return what is wrong with a chunk's meta, None if an upload can have written it."""
    if not _BUCKET.fullmatch(meta.bucket):
        return "its bucket has a name that no bucket has"
    if not 1 <= len(meta.key) <= KEY_SIZE_BYTES_MAX or not _is_text(meta.key):
        return "its key is none"
    is_part = meta.multipart_id is not None
    if not (1 <= meta.part_number <= PARTS_MAX if is_part else meta.part_number == 0):
        return "its part's number is none"
    if not _is_time(created_us, now_us):
        return "its time is not of ours"
    return None if meta.record is None else _record_problem(meta.record, is_part, now_us)


def _record_problem(record: UploadRecord, is_part: bool, now_us: int) -> str | None:
    asked, origin = record.conditions, record.multipart
    conditions = [text for text in (asked.if_match, asked.if_none_match) if text is not None]
    if not 1 <= record.size <= OBJECT_SIZE_BYTES_MAX:
        return "its size is none"
    if len(record.etag) > ETAG_CHARACTERS_MAX or not _ETAG.fullmatch(record.etag):
        return "its ETag is none"
    if not _CLASS.fullmatch(record.storage_class):
        return "its storage class is none"
    if not _is_time(record.at_us, now_us):
        return "its time is not of ours"
    if any(len(text) > CONDITION_CHARACTERS_MAX or not _is_plain(text) for text in conditions):
        return "its condition is none"
    if (is_part and conditions) or (origin is not None and not is_part):
        return "it is a part and an object"
    if not _is_meta(record.meta):
        return "its metadata are not of a request"
    if origin is None:
        return None
    is_ours = _is_meta(origin.meta) and _is_time(origin.created_us, now_us)
    words = (origin.checksum_algorithm, origin.checksum_type)
    return None if is_ours and all(map(_WORD.fullmatch, words)) else "its upload is none"


def _is_meta(meta: ObjectMeta) -> bool:
    mappings = (meta.headers, meta.user, meta.checksums)
    size = sum(len(k) + len(v) for mapping in mappings for k, v in mapping.items())
    return (
        size <= META_CHARACTERS_MAX
        and meta.checksum_type in ("FULL_OBJECT", "COMPOSITE")
        and all(map(_HEADER.fullmatch, (*meta.headers, *meta.user)))
        and all(map(_HEADER_VALUE.fullmatch, meta.headers.values()))
        and all(map(_is_plain, meta.user.values()))
        and _ALGORITHMS.issuperset(meta.checksums)
        and all(map(_CHECKSUM.fullmatch, meta.checksums.values()))
    )


def _is_plain(text: str) -> bool:
    return _TEXT.fullmatch(text) is not None


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_time(at_us: int, now_us: int) -> bool:
    return 0 < at_us <= now_us + CLOCK_SLACK_US
