"""Content comes back: what was dropped is referenced again, as long as nobody removed its bytes.

The counterpart of `content.py`. Content that still has its row without a holder was never dropped,
or not yet: it is whole. Other content must be garbage, all of its chunks, which no compactor has
claimed; its parts become rows again, and what they were copied from comes back with them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from fileflux.core.changes import PastContent, PastPart
from fileflux.core.ids import UploadId
from fileflux.metadata.content import hold
from fileflux.metadata.overlay import NO_HOLDER, Overlay
from fileflux.metadata.rows import PartRow, part_holder

BYTES_GONE: Final = "its bytes were let go of: no garbage that could be taken back names them"
UNKNOWN: Final = "the plan does not tell its content, or a part of it"


def why_gone(state: Overlay, content_id: UploadId, contents: Sequence[PastContent]) -> str | None:
    """Return why this content cannot be brought back; None if it can be, or is there."""
    known = {content.content_id: content for content in contents}
    waiting, seen = [content_id], set[UploadId]()
    while waiting:
        wanted = waiting.pop()
        if wanted in seen or _is_there(state, wanted):
            continue
        seen.add(wanted)
        problem = _problem_of(state, known.get(wanted))
        if problem is not None:
            return problem
        waiting.extend(_copied_from(known[wanted]))
    return None


def bring_back(state: Overlay, content_id: UploadId, contents: Sequence[PastContent]) -> None:
    """Make this content shared content that is there; `why_gone` has said that it can be."""
    known: Mapping[UploadId, PastContent] = {one.content_id: one for one in contents}
    waiting = [content_id]
    while waiting:
        wanted = waiting.pop()
        if _is_there(state, wanted):
            continue
        content = known[wanted]
        state.garbage.take(content.manifest.chunks)
        hold(state, wanted, NO_HOLDER, content.manifest)
        for part in content.parts:
            _bring_part_back(state, wanted, part)
        waiting.extend(_copied_from(content))


def _is_there(state: Overlay, content_id: UploadId) -> bool:
    return NO_HOLDER in state.holders.get(content_id, {})


def _problem_of(state: Overlay, content: PastContent | None) -> str | None:
    if content is None:
        return UNKNOWN
    numbers = {part.part_number for part in content.parts}
    if numbers != {number for number, _ in content.manifest.parts}:
        return UNKNOWN
    own = [part.manifest for part in content.parts if not part.shared]
    if all(state.garbage.has(manifest.chunks) for manifest in (content.manifest, *own)):
        return None
    return BYTES_GONE


def _copied_from(content: PastContent) -> list[UploadId]:
    return [part.content_id for part in content.parts if part.shared]


def _bring_part_back(state: Overlay, upload_id: UploadId, part: PastPart) -> None:
    row = PartRow(
        upload_id=upload_id,
        part_number=part.part_number,
        size=part.size,
        etag=part.etag,
        meta=part.meta,
        manifest=part.manifest,
        content_id=part.content_id,
        modified_us=part.modified_us,
        row_stamp=state.stamp,
        shared=part.shared,
    )
    state.put(row)
    if part.shared:
        hold(state, part.content_id, part_holder(upload_id, part.part_number))
    else:
        state.garbage.take(part.manifest.chunks)
