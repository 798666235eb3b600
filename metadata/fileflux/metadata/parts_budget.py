"""How many parts a transaction still reads only to drop them. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.rows import CONTENT_DEPTH_MAX, PARTS_READ_MAX, UPLOADS_READ_MAX


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of `Rows`; tests make them tiny."""

    depth: int = CONTENT_DEPTH_MAX
    parts: int = PARTS_READ_MAX
    uploads: int = UPLOADS_READ_MAX


USUAL: Final = Limits()


class PartsBudget:
    """Contents are read whole, once, while they fit; `always` ones whatever their size."""

    def __init__(self, limits: Limits, *, always: Collection[UploadId]) -> None:
        self._left = limits.parts
        self._always = always
        self._taken = set[UploadId]()

    def take(self, content_id: UploadId, manifest: Manifest | None) -> bool:
        """Tell whether this content's parts are to be read now."""
        if manifest is None or not manifest.parts or content_id in self._taken:
            return False
        if content_id not in self._always:
            if len(manifest.parts) > self._left:
                return False
            self._left -= len(manifest.parts)
        self._taken.add(content_id)
        return True
