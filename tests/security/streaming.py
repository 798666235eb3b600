"""What the tests of bodies share: the server's view of the client's key."""

from tests.security.signing import SCOPE, TIMESTAMP, signing_key

from fileflux.ingest.sigv4 import ChunkSigner


def signer_from(seed: str) -> ChunkSigner:
    """Return the verifier of chunks that continue `seed`."""
    return ChunkSigner(signing_key(), TIMESTAMP, SCOPE, seed)
