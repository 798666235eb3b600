"""Where a page of a listing starts and ends, and how keys roll up into common prefixes. Pure.

With a delimiter, every key that holds it behind the prefix stands for its group: all keys with the
same beginning up to and including that delimiter. A page that ended with a group goes on behind it.
"""

from collections.abc import Sequence
from typing import Final

from fileflux.metadata.ports import ListedKeys
from fileflux.metadata.rows import ObjectRow, UploadRow

KEYS_END: Final = b"\xff" * 1025
"""Above every key: a key is UTF-8 (no such byte) and has 1,024 bytes at most."""
_BYTE_MAX: Final = 0xFF


def prefix_end(prefix: bytes) -> bytes:
    """Return the smallest bytes above everything that begins with `prefix`."""
    kept = prefix.rstrip(b"\xff")
    if not kept:
        return KEYS_END
    return kept[:-1] + bytes((kept[-1] + 1,))


def group_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """Return the common prefix that a key with this prefix rolls up into, None if into none."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


def page_start(prefix: bytes, delimiter: bytes, after: bytes) -> bytes:
    """Return the smallest key that may stand on the page after `after` (empty: the first page)."""
    if after < prefix:
        return prefix
    if not after:
        return b""
    if after.startswith(prefix) and group_of(after, prefix, delimiter) == after:
        return prefix_end(after)
    return after + b"\x00"


def page_of(entries: Sequence[tuple[bytes, ObjectRow | None]], *, max_keys: int) -> ListedKeys:
    """Return a page of (key, row) or (common prefix, None); one entry more tells of the next."""
    page = entries[:max_keys]
    return ListedKeys(
        rows=tuple(row for _, row in page if row is not None),
        common_prefixes=tuple(name for name, row in page if row is None),
        truncated=len(entries) > max_keys,
        next_after=page[-1][0] if page else None,
    )


def group_uploads(
    rows: Sequence[UploadRow], *, prefix: bytes, delimiter: bytes, max_uploads: int
) -> tuple[list[UploadRow], list[bytes], bool]:
    """Return (uploads, common prefixes, truncated) of rows that stand in order.

    All rows that were read fit: not truncated. Uploads are few, so groups are read, not jumped.
    """
    uploads: list[UploadRow] = []
    groups: list[bytes] = []
    for row in rows:
        group = group_of(row.key, prefix, delimiter)
        if group is not None and groups and groups[-1] == group:
            continue
        if len(uploads) + len(groups) == max_uploads:
            return uploads, groups, True
        if group is None:
            uploads.append(row)
        else:
            groups.append(group)
    return uploads, groups, False
