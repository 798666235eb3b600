"""Self-describing bodies: any GET can be judged without memory of the PUT.

A body is a header line `run client sequence length` and then bytes of a generator seeded by it.
"""

import hashlib
import random


def make_body(run: int, client: int, sequence: int, size: int) -> bytes:
    """`size` bytes (a short size cuts the header; the label still tells them apart)."""
    header = f"{run} {client} {sequence} {size}\n".encode()
    rng = random.Random(header)
    return (header + rng.randbytes(max(0, size - len(header))))[:size] if size else b""


def is_whole(body: bytes) -> bool:
    """Whether a body is exactly what its own header says: no byte lost, changed or mixed in."""
    header, found, _ = body.partition(b"\n")
    parts = header.split()
    if not found or len(parts) != 4 or not all(part.isdigit() for part in parts):
        return False
    return make_body(*(int(part) for part in parts)) == body


def label_of(body: bytes) -> str:
    """The value that histories carry for a body."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()
