"""Keys as authentication asks for them: kept for a moment, and each one on its own."""

import asyncio
from dataclasses import replace

import pytest
import structlog
from tests.model.s3_world import ALICE, BOB, S3World

from fileflux.core.errors import FormatInvalid
from fileflux.ingest.identities import DatabaseIdentities
from fileflux.metadata.rows import KeyRow, UserRow


class OtherMasterKey:
    """The world's reader, and one key whose secret another master key encrypted."""

    def __init__(self, world: S3World) -> None:
        self._reader = world.reader
        self.asked: list[str] = []

    async def find_key(self, access_key: str) -> tuple[KeyRow, UserRow] | None:
        self.asked.append(access_key)
        found = await self._reader.find_key(access_key)
        if found is None or access_key != BOB.access_key:
            return found
        key, user = found
        return replace(key, secret=b"\x01" + bytes(60)), user


async def test_a_secret_that_cannot_be_decrypted_fails_its_own_key_only(s3_world: S3World) -> None:
    reader = OtherMasterKey(s3_world)
    identities = DatabaseIdentities(reader, s3_world.deps.master_key, s3_world.clock)  # type: ignore[arg-type]
    keys = [ALICE.access_key, BOB.access_key, "FFNOBODY", ALICE.access_key]
    with structlog.testing.capture_logs() as logs:
        alice, bob, nobody, again = await asyncio.gather(
            *(identities.secret_for(key) for key in keys), return_exceptions=True
        )

    assert alice == again == await s3_world.deps.credentials.secret_for(ALICE.access_key)
    assert isinstance(bob, FormatInvalid)
    assert nobody is None
    assert [entry["access_key"] for entry in logs if entry["log_level"] == "error"] == keys[1:2]


async def test_a_key_works_as_soon_as_its_secret_can_be_decrypted(s3_world: S3World) -> None:
    reader = OtherMasterKey(s3_world)
    identities = DatabaseIdentities(reader, s3_world.deps.master_key, s3_world.clock)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(FormatInvalid):
            await identities.secret_for(BOB.access_key)

    assert reader.asked == [BOB.access_key] * 2, "a failure is never kept"
