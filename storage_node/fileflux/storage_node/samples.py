"""Made-up bundles for tests, examples and the simulation: everything follows from a seed."""

import random
from collections.abc import Sequence

from fileflux.core.bundle_format import encode_small
from fileflux.core.bundle_records import ChunkEntry, ChunkMeta, UploadRecord
from fileflux.core.bundle_view import BundleReceiver
from fileflux.core.clock import Clock
from fileflux.core.ids import BucketId, BundleId, NodeId, SealId, UploadId
from fileflux.core.model import ObjectMeta, SizeClass
from fileflux.events.schema import BundleAssigned
from fileflux.storage_node.bundle_store import IncomingBundle


def sample_bundle(seed: int, *, lengths: Sequence[int] = (300, 5_000)) -> IncomingBundle:
    """Return a bundle of small objects of these lengths, verified as a pulled one is."""
    rng = random.Random(seed)
    bundle_id = BundleId(rng.randbytes(16))
    entries = [_entry(rng, length) for length in lengths]
    encoded = encode_small(bundle_id, SealId(rng.randbytes(16)), 1_767_225_600_000_000, entries)
    return received(bundle_id, b"".join(encoded.parts), encoded.crc)


def received(bundle_id: BundleId, raw: bytes, crc: int) -> IncomingBundle:
    """Return these bytes as a puller hands them on."""
    receiver = BundleReceiver(bundle_id, len(raw), crc)
    receiver.begin(len(raw))[:] = raw
    receiver.arrived(len(raw))
    data, view = receiver.finish()
    return IncomingBundle(data, view)


def sample_assignment(
    bundle: IncomingBundle,
    node_id: NodeId,
    clock: Clock,
    *,
    lane: int = 0,
    attempt: int = 0,
    source_url: str = "http://staging/bundle",
    peers: tuple[str, ...] = (),
    expires_in_s: float = 60,
) -> BundleAssigned:
    """Return the assignment that ingest would emit for it now."""
    header = bundle.view.header
    now_us = clock.now_us()
    return BundleAssigned(
        bundle_id=header.bundle_id,
        seal_id=header.seal_id,
        node_id=node_id,
        lane=lane,
        size_class=SizeClass.SMALL,
        size=header.size,
        crc=header.crc,
        source_url=source_url,
        peers=peers,
        attempt=attempt,
        expires_at_us=now_us + int(expires_in_s * 1_000_000),
        assigned_us=now_us,
    )


def _entry(rng: random.Random, length: int) -> ChunkEntry:
    record = UploadRecord(
        size=length,
        etag=f"{rng.getrandbits(128):032x}",
        at_us=1_767_225_600_000_000,
        storage_class="STANDARD",
        meta=ObjectMeta({"content-type": "application/octet-stream"}),
    )
    meta = ChunkMeta(
        upload_id=UploadId(rng.randbytes(16)),
        bucket_id=BucketId(rng.randbytes(16)),
        bucket="bucket",
        key=rng.randbytes(8).hex().encode(),
        record=record,
    )
    return ChunkEntry(meta, rng.randbytes(length))
