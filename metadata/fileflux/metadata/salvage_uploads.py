"""From chunks to uploads: whose chunks they are, and whether all of them are there. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.bundle_records import ChunkMeta, UploadRecord
from fileflux.core.ids import BundleId, UploadId
from fileflux.core.model import Chunk, Manifest
from fileflux.metadata.salvage_claims import claim_problem
from fileflux.metadata.salvage_evidence import FoundBundle
from fileflux.metadata.salvage_findings import Findings, key_text

MISSING_NAMED_MAX: Final = 20
Bundles = Mapping[BundleId, FoundBundle]
Place = tuple[BundleId, int]
Order = tuple[int, int, int, bytes]
"""When the last bundle was finished, where in it the upload stands (so they were decided), when its
request came, its id."""


@dataclass(frozen=True, slots=True)
class FoundUpload:
    """An upload or a part. `manifest` None: chunks are missing. `record` None: also its last one.

    `said` and `content` are these two of a whole upload. `meta` is that of one of its chunks.
    `order`: uploads of one key follow each other by it.
    """

    meta: ChunkMeta
    record: UploadRecord | None
    manifest: Manifest | None
    order: Order

    @property
    def upload_id(self) -> UploadId:
        return self.meta.upload_id

    @property
    def is_whole(self) -> bool:
        return self.manifest is not None

    @property
    def said(self) -> UploadRecord:
        assert self.record is not None, "a whole upload has its record"
        return self.record

    @property
    def content(self) -> Manifest:
        assert self.manifest is not None, "asked of a whole upload only"
        return self.manifest

    @property
    def at_us(self) -> int:
        return self.order[0]


def found_uploads(bundles: Bundles, findings: Findings, *, now_us: int) -> list[FoundUpload]:
    """Return what was uploaded, whole or not; name what contradicts itself and leave it out."""
    chunks: dict[UploadId, list[Place]] = {}
    for bundle_id, bundle in bundles.items():
        for number, chunk in bundle.chunks.items():
            problem = "it is no meta of ours"
            if chunk.meta is not None:
                found = claim_problem(chunk.meta, bundle.header.created_us, now_us)
                if found is None:
                    chunks.setdefault(chunk.meta.upload_id, []).append((bundle_id, number))
                    continue
                problem = found
            findings.note("record_refused", bundle=bundle_id, chunk=number, why=problem)
    return [
        upload
        for places in chunks.values()
        if (upload := _joined(places, bundles, findings)) is not None
    ]


def _joined(places: list[Place], bundles: Bundles, findings: Findings) -> FoundUpload | None:
    """Return what the chunks of one upload id are together. None: a record that cannot be one."""
    metas = {place: _meta_at(place, bundles) for place in places}
    records = [place for place in places if metas[place].record is not None]
    if len(records) > 1 or (not records and len(set(map(_whose, metas.values()))) > 1):
        _tell_conflict(metas[places[0]], places, findings)
        return None
    last = records[0] if records else places[0]
    meta = metas[last]
    ours = [place for place in places if _whose(metas[place]) == _whose(meta)]
    others = [place for place in places if _whose(metas[place]) != _whose(meta)]
    if others:
        _tell_conflict(meta, others, findings)
    record, manifest = meta.record, None
    if record is not None:
        manifest = _whole_manifest(meta, record, last, bundles, findings)
        if manifest is _WRONG:
            return None
    if manifest is None:
        _tell_incomplete(meta, ours, findings)
    created_us = max(bundles[bundle_id].header.created_us for bundle_id, _ in ours)
    at_us = 0 if record is None else record.at_us
    order = (created_us, last[1], at_us, meta.upload_id)
    return FoundUpload(meta, record, manifest, order)


_WRONG: Final = Manifest()
"""Of a record that no upload has written."""


def _meta_at(place: Place, bundles: Bundles) -> ChunkMeta:
    meta = bundles[place[0]].chunks[place[1]].meta
    assert meta is not None, "only claimed chunks are joined"
    return meta


def _whose(meta: ChunkMeta) -> tuple[object, ...]:
    return meta.bucket_id, meta.bucket, meta.key, meta.multipart_id, meta.part_number


def _whole_manifest(
    meta: ChunkMeta, record: UploadRecord, last: Place, bundles: Bundles, findings: Findings
) -> Manifest | None:
    """Return the upload's manifest if all of it is there, else None; `_WRONG` if it cannot be."""
    manifest = record.manifest
    if manifest is None:
        length = bundles[last[0]].chunks[last[1]].length
        manifest = Manifest((Chunk(last[0], last[1], length),))
    is_its_own = last in [(chunk.bundle_id, chunk.number) for chunk in manifest.chunks]
    if manifest.parts or manifest.size != record.size or not is_its_own:
        findings.note("record_refused", bundle=last[0], chunk=last[1], why="its manifest is none")
        return _WRONG
    held = [_holds(chunk, number, meta, bundles) for number, chunk in enumerate(manifest.chunks)]
    return manifest if all(held) else None


def _holds(chunk: Chunk, number: int, meta: ChunkMeta, bundles: Bundles) -> bool:
    """Whether the nodes have this chunk, and have it as this upload's chunk of this number."""
    bundle = bundles.get(chunk.bundle_id)
    found = None if bundle is None else bundle.chunks.get(chunk.number)
    return (
        found is not None
        and found.meta is not None
        and found.meta.upload_id == meta.upload_id
        and _whose(found.meta) == _whose(meta)
        and found.meta.chunk_number == number
        and (chunk.start, chunk.size) == (0, found.length)
    )


def _tell_conflict(meta: ChunkMeta, places: Iterable[Place], findings: Findings) -> None:
    ids = sorted({bundle_id.hex() for bundle_id, _ in places})
    findings.note("upload_conflict", upload=meta.upload_id, key=key_text(meta.key), bundles=ids)


def _tell_incomplete(meta: ChunkMeta, places: Iterable[Place], findings: Findings) -> None:
    record = meta.record
    held = set(places)
    wanted = () if record is None or record.manifest is None else record.manifest.chunks
    missing = [c.bundle_id.hex() for c in wanted if (c.bundle_id, c.number) not in held]
    findings.note(
        "upload_incomplete",
        upload=meta.upload_id,
        bucket=meta.bucket,
        key=key_text(meta.key),
        part=meta.part_number,
        was_sealed=record is not None,
        missing=missing[:MISSING_NAMED_MAX],
        missing_count=len(missing),
    )
