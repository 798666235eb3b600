"""Loads what drops with loaded rows, over a view of dictionaries: no more than `Rows` promises."""

from collections import defaultdict

from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.memory_tables import MemoryView
from fileflux.metadata.overlay import NO_HOLDER
from fileflux.metadata.parts_budget import Limits, PartsBudget
from fileflux.metadata.rows import Footprint, Rows, part_holder


class ContentLoader:
    """Closes rows under "what drops with them"."""

    def __init__(self, view: MemoryView, rows: Rows, footprint: Footprint, limits: Limits) -> None:
        self._view = view
        self._rows = rows
        self._footprint = footprint
        self._depth = limits.depth
        self._budget = PartsBudget(limits, always=footprint.contents)

    def load(self) -> None:
        for place in sorted(self._footprint.objects):
            row = self._rows.objects.get(place)
            if row is not None:
                self._load_parts(row.content_id, row.manifest)
        for depth in range(self._depth + 1):
            for content_id, own in sorted(self._own_holders().items()):
                self._load_holders(content_id, len(own))
                if depth < self._depth:
                    self._load_parts_of_unheld(content_id, own)

    def _load_parts(self, content_id: UploadId, manifest: Manifest | None) -> None:
        if self._budget.take(content_id, manifest):
            for _, part in self._view.begins_with("parts", content_id):
                self._rows.parts[(part.upload_id, part.part_number)] = part

    def _own_holders(self) -> dict[UploadId, set[bytes]]:
        """Return, for every shared content of a loaded row, the holders that loaded rows are."""
        own: defaultdict[UploadId, set[bytes]] = defaultdict(set)
        named = self._footprint.contents | self._footprint.copied
        own.update({content_id: set() for content_id in named})
        for row in self._rows.objects.values():
            if row.shared:
                own[row.content_id].add(row.version_id)
        for part in self._rows.parts.values():
            if part.shared:
                own[part.content_id].add(part_holder(part.upload_id, part.part_number))
        return own

    def _load_holders(self, content_id: UploadId, own_count: int) -> None:
        found = self._view.begins_with("holders", content_id)[: own_count + 2]
        self._rows.holders[content_id] = {row.holder: row for _, row in found}

    def _load_parts_of_unheld(self, content_id: UploadId, own: set[bytes]) -> None:
        holders = self._rows.holders[content_id]
        whole = holders.get(NO_HOLDER)
        if whole is not None and holders.keys() <= own | {NO_HOLDER}:
            self._load_parts(content_id, whole.manifest)
