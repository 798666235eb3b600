"""Signed checkpoints: at this position the chain had this hash, says the holder of this key.

Whoever has the public key can tell, without our database, that the records up to a checkpoint are
those that were there when it was signed. What is signed is a text of lines
(docs/formats/archive.md); each names the digest of the checkpoint before it, so that none can be
left out. Pure.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from fileflux.core.errors import EventInvalid
from fileflux.metadata.ports import StoredCheckpoint

FORMAT: Final = "fileflux-audit-checkpoint"
VERSION: Final = 1
TITLE: Final = "fileflux audit checkpoint v1"
FIRST_NUMBER: Final = 1
NO_PREVIOUS: Final = bytes(32)
KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """`number`: from 1 without gaps. `position`, `chain_hash`: of the last record it vouches for.

    `previous`: digest of the checkpoint before, zeros for the first. `time`: RFC 3339, UTC, by the
    database's clock. `public_key`: raw, 32 bytes.
    """

    stream: str
    number: int
    position: int
    chain_hash: bytes
    time: str
    previous: bytes
    public_key: bytes
    signature: bytes = b""

    @property
    def text(self) -> bytes:
        """Return what is signed."""
        lines = (
            *(TITLE, self.stream, str(self.number), str(self.position), self.chain_hash.hex()),
            *(self.time, self.previous.hex(), self.public_key.hex()),
        )
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text).digest()

    @property
    def is_signed(self) -> bool:
        """Tell whether the signature is that of the key it names; not whose key that is."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, self.text)
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def stored(self) -> StoredCheckpoint:
        return StoredCheckpoint(self.stream, self.number, self.position, encode_checkpoint(self))


def sign_next(
    key: Ed25519PrivateKey,
    before: Checkpoint | None,
    *,
    stream: str,
    position: int,
    chain_hash: bytes,
    at_us: int,
) -> Checkpoint:
    """Return the checkpoint that follows `before` (None: the first one), signed."""
    unsigned = Checkpoint(
        stream=stream,
        number=FIRST_NUMBER if before is None else before.number + 1,
        position=position,
        chain_hash=chain_hash,
        time=_time_text(at_us),
        previous=NO_PREVIOUS if before is None else before.digest,
        public_key=key.public_key().public_bytes_raw(),
    )
    return replace(unsigned, signature=key.sign(unsigned.text))


def _time_text(at_us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as one line of JSON, without its newline."""
    return orjson.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "stream": checkpoint.stream,
            "number": checkpoint.number,
            "position": checkpoint.position,
            "chain_hash": checkpoint.chain_hash.hex(),
            "time": checkpoint.time,
            "previous": checkpoint.previous.hex(),
            "key": checkpoint.public_key.hex(),
            "signature": checkpoint.signature.hex(),
        }
    )


def decode_checkpoint(line: bytes) -> Checkpoint:
    """Return what `encode_checkpoint` wrote, whoever signed it; raise EventInvalid."""
    try:
        found = orjson.loads(line)
        if (found["format"], found["version"]) != (FORMAT, VERSION):
            raise EventInvalid("not a checkpoint of a version we know")
        made = Checkpoint(
            stream=str(found["stream"]),
            number=int(found["number"]),
            position=int(found["position"]),
            chain_hash=bytes.fromhex(found["chain_hash"]),
            time=str(found["time"]),
            previous=bytes.fromhex(found["previous"]),
            public_key=bytes.fromhex(found["key"]),
            signature=bytes.fromhex(found["signature"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EventInvalid(f"not a checkpoint: {error!r}") from error
    if "\n" in made.stream + made.time:
        raise EventInvalid("a checkpoint's fields are one line each")
    return made


def decode_checkpoints(raw: bytes) -> list[Checkpoint]:
    """Return the checkpoints of an archived object: a line each."""
    return [decode_checkpoint(line) for line in raw.split(b"\n") if line]
