"""Typed identifiers, made and parsed here only.

An id is made before the first byte is staged, so a redelivered event is known by it. Ids that
travel between services are 16 random bytes; people read them as 32 hexadecimal digits.
"""

import hashlib
import random
from typing import Final, NewType

BundleId = NewType("BundleId", bytes)
"""16 bytes. One flush of ingest: the unit of placement, transfer, fsync and location."""
SealId = NewType("SealId", bytes)
"""16 bytes. One flush's record of the uploads that it completes. Settles once."""
UploadId = NewType("UploadId", bytes)
"""16 bytes. One write from intent to outcome; also its version id and its content id."""
BucketId = NewType("BucketId", bytes)
"""16 bytes. Never reused, so that a late seal cannot land in a namesake."""
UserId = NewType("UserId", bytes)
"""16 bytes."""
NodeId = NewType("NodeId", str)
"""The UUID of the dataset that the node owns, in text. An empty dataset is a new node."""
Incarnation = NewType("Incarnation", bytes)
"""16 bytes. One life of one ingest process."""

ID_SIZE_BYTES: Final = 16
ATTEMPT_SIZE_BYTES: Final = 4


def new_id(rng: random.Random) -> bytes:
    """Return 16 fresh bytes; `rng` is `random.SystemRandom()` outside of simulations."""
    return rng.randbytes(ID_SIZE_BYTES)


def parse_id(text: str) -> bytes:
    """Return the 16 bytes that 32 hexadecimal digits stand for; raise ValueError otherwise."""
    raw = bytes.fromhex(text)
    if len(raw) != ID_SIZE_BYTES:
        raise ValueError(f"an id has {2 * ID_SIZE_BYTES} hexadecimal digits")
    return raw


def route_hash(*parts: bytes) -> int:
    """Return h: the first 8 bytes, big endian, of BLAKE2b over the joined parts.

    Lanes, slots and the choice of a replica set all use it; the test vectors are fixed, because
    services of different versions must agree.
    """
    return int.from_bytes(hashlib.blake2b(b"".join(parts)).digest()[:8], "big")


def lane_of(incarnation: Incarnation, lane_count: int) -> int:
    """Return the partition in which this ingest's seals, commits and answers travel."""
    return route_hash(incarnation) % lane_count


def slot_of(node_id: NodeId, slot_count: int) -> int:
    """Return the partition in which this node's assignments travel."""
    return route_hash(node_id.encode()) % slot_count


def set_index(bundle_id: BundleId, attempt: int, set_count: int) -> int:
    """Return which of a class's replica sets a bundle goes to at this attempt."""
    return route_hash(bundle_id, attempt.to_bytes(ATTEMPT_SIZE_BYTES, "big")) % set_count
