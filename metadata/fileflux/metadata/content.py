"""Who holds content, and when it becomes garbage.

Content is an object's or part's bytes; `rows.py` says how it is kept. Dropping one may drop others:
a completed multipart upload drops its parts, and a part that was copied drops what it was copied
from once it was the last to hold that. A client decides how long that chain is, so a transaction
reads only some levels of it: content whose parts were not read is left behind as a row without a
holder, for `DropContent`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.overlay import NO_HOLDER, Overlay
from fileflux.metadata.rows import HolderRow, ObjectRow, PartRow, part_holder

Content = tuple[UploadId, Manifest]


def drop_object(state: Overlay, row: ObjectRow, by: UploadId) -> None:
    """Let go of the content of an object version that is being removed or replaced."""
    if row.shared:
        _drop(state, _release(state, row.content_id, row.version_id), by)
    else:
        _drop(state, [(row.content_id, row.manifest)], by)


def drop_parts(state: Overlay, parts: Iterable[PartRow], by: UploadId) -> None:
    """Remove parts and let go of their content."""
    for part in parts:
        state.remove(part)
        drop_part_content(state, part, by)


def drop_part_content(state: Overlay, part: PartRow, by: UploadId) -> None:
    """Let go of the content of a part that is being removed or replaced."""
    _drop(state, _content_left_by(state, part), by)


def drop_unheld(state: Overlay, content_id: UploadId, by: UploadId) -> bool:
    """Drop content that was left behind; return whether there is such content."""
    holders = state.holders.get(content_id, {})
    whole = holders.get(NO_HOLDER)
    if whole is None or whole.manifest is None or len(holders) > 1:
        return False
    _drop(state, [(content_id, whole.manifest)], by)
    return True


def make_shared(state: Overlay, source: ObjectRow) -> None:
    """Make a version a holder of its content, so that others may hold it too."""
    if not source.shared:
        state.put(replace(source, shared=True, row_stamp=state.stamp))
        hold(state, source.content_id, NO_HOLDER, source.manifest)
        hold(state, source.content_id, source.version_id)


def hold(
    state: Overlay, content_id: UploadId, holder: bytes, manifest: Manifest | None = None
) -> None:
    """Let `holder` hold shared content. `manifest`: only for the row without a holder."""
    row = HolderRow(content_id=content_id, holder=holder, row_stamp=state.stamp, manifest=manifest)
    state.put(row)


def _drop(state: Overlay, contents: Sequence[Content], by: UploadId) -> None:
    waiting = list(contents)
    while waiting:
        content_id, manifest = waiting.pop()
        parts = [state.part(content_id, number) for number, _ in manifest.parts]
        found = [part for part in parts if part is not None]
        whole = state.holders.get(content_id, {}).get(NO_HOLDER)
        if len(found) < len(parts):
            if whole is None:
                hold(state, content_id, NO_HOLDER, manifest)
            continue
        if whole is not None:
            state.remove(whole)
        state.discard(manifest.chunks, by)
        for part in found:
            state.remove(part)
            waiting.extend(_content_left_by(state, part))


def _content_left_by(state: Overlay, part: PartRow) -> list[Content]:
    if part.shared:
        return _release(state, part.content_id, part_holder(part.upload_id, part.part_number))
    return [(part.content_id, part.manifest)]


def _release(state: Overlay, content_id: UploadId, holder: bytes) -> list[Content]:
    """Remove one holder, loaded or not; return the content if nobody holds it any more."""
    state.remove(HolderRow(content_id=content_id, holder=holder, row_stamp=state.stamp))
    holders = state.holders.get(content_id, {})
    whole = holders.get(NO_HOLDER)
    if whole is None or whole.manifest is None or len(holders) > 1:
        return []
    return [(content_id, whole.manifest)]
