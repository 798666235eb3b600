"""What the nodes' records say together: replicas merged, contradictions named. Pure.

The records of one bundle agree when they were sealed with the same size and CRC and say the same of
every chunk that both have: a rewritten (sparse) record has fewer. Where they do not agree, what
most nodes say is believed; where as many say this as that, nothing is.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.bundle_meta import decode_meta
from fileflux.core.bundle_records import BundleHeader, ChunkMeta
from fileflux.core.bundle_view import BundleIndexView, ChunkPlace
from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.node_records import HeldBundle
from fileflux.metadata.salvage_findings import Findings

DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk of a bundle. `meta` None: nothing of ours stands there."""

    length: int
    meta: ChunkMeta | None


@dataclass(slots=True)
class FoundBundle:
    """A bundle as the nodes that agree describe it: `holders`.

    `chunks`: by number, those that at least one node has whole.
    """

    header: BundleHeader
    chunks: dict[int, FoundChunk] = field(default_factory=dict)
    holders: set[NodeId] = field(default_factory=set)
    _digests: dict[int, bytes] = field(default_factory=dict)

    def agrees(self, header: BundleHeader, digests: Mapping[int, bytes]) -> bool:
        ours, theirs = self.header, header
        return (ours.sealed, ours.created_us, ours.size_class) == (
            theirs.sealed,
            theirs.created_us,
            theirs.size_class,
        ) and all(self._digests.get(number, digest) == digest for number, digest in digests.items())

    def add(
        self, index: BundleIndexView, digests: Mapping[int, bytes], rotten: frozenset[int]
    ) -> None:
        for place in index.chunks():
            self._digests.setdefault(place.number, digests[place.number])
            if place.number not in self.chunks and place.number not in rotten:
                self.chunks[place.number] = FoundChunk(place.length, _meta(index, place))


class Evidence:
    """Takes in what each node holds, in any order; `bundles` says what of it is believed."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._found: dict[BundleId, list[FoundBundle]] = {}
        self.counts: dict[NodeId, int] = {}

    def add(self, node_id: NodeId, held: HeldBundle) -> None:
        """Take one record in. What a node says twice is the same as once."""
        note = self._findings.note
        if held.index is None:
            note("bundle_unreadable", node=node_id, bundle=held.bundle_id, why=held.problem)
            return
        for number in sorted(held.rotten):
            note("chunk_rotten", node=node_id, bundle=held.bundle_id, chunk=number)
        self.counts[node_id] = self.counts.get(node_id, 0) + 1
        index = held.index
        digests = {place.number: _digest(index, place) for place in index.chunks()}
        versions = self._found.setdefault(held.bundle_id, [])
        for version in versions:
            if version.agrees(index.header, digests):
                break
        else:
            version = FoundBundle(index.header)
            versions.append(version)
        version.add(index, digests, held.rotten)
        version.holders.add(node_id)

    def bundles(self) -> dict[BundleId, FoundBundle]:
        """Return what is believed of every bundle, and forget the rest."""
        believed = {}
        while self._found:
            bundle_id, versions = self._found.popitem()
            version = self._believed(bundle_id, versions)
            if version is not None:
                believed[bundle_id] = version
        return believed

    def _believed(self, bundle_id: BundleId, versions: list[FoundBundle]) -> FoundBundle | None:
        versions.sort(key=lambda version: -len(version.holders))
        if len(versions) == 1:
            return versions[0]
        nodes = [sorted(version.holders) for version in versions]
        is_tied = len(nodes[0]) == len(nodes[1])
        told = None if is_tied else nodes[0]
        self._findings.note("bundle_conflict", bundle=bundle_id, versions=nodes, believed=told)
        return None if is_tied else versions[0]


def _digest(index: BundleIndexView, place: ChunkPlace) -> bytes:
    """Return a digest of all that is said of a chunk: CRCs alone can be made to fit."""
    said = index.block_crcs(place, 0, place.block_count) + index.raw_meta(place)
    size = place.length.to_bytes(4, "big")
    return hashlib.blake2b(size + said, digest_size=DIGEST_BYTES).digest()


def _meta(index: BundleIndexView, place: ChunkPlace) -> ChunkMeta | None:
    try:
        return decode_meta(index.raw_meta(place))
    except FormatInvalid:
        return None
