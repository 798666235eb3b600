"""FileFlux's own S3 endpoint is found out as an archive, by real requests, whatever its address."""

from collections.abc import AsyncIterator

import pytest
import uvicorn
from tests.model import s3_world
from tests.model.s3_world import ALICE, S3World, open_s3_world
from tests.security.signing import SETTINGS

from fileflux.core.clock import SystemClock
from fileflux.core.ops import EmbeddedServer
from fileflux.metadata.archive import ArchiveInvalid
from fileflux.metadata.archive_probe import refuse_ourselves
from fileflux.metadata.archive_s3 import S3Archive, open_s3_archive


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3World]:
    monkeypatch.setattr(s3_world, "ShiftedClock", SystemClock)  # A real client signs for now.
    async with open_s3_world() as made:
        yield made


@pytest.fixture
async def archive(world: S3World) -> AsyncIterator[S3Archive]:
    """A bucket of ours, reached as somebody else's would be."""
    config = uvicorn.Config(world.app, host="127.0.0.1", port=0, access_log=False, log_config=None)
    server = EmbeddedServer(config)
    await server.start()
    async with open_s3_archive(
        "backups",
        "audit/",
        endpoint=f"http://127.0.0.1:{server.port}",
        region=SETTINGS.region,
        access_key=ALICE.access_key,
        secret_key=ALICE.secret_key,
    ) as made:
        await made._client.create_bucket(Bucket="backups")
        yield made
    await server.stop()


async def test_our_own_endpoint_is_refused_as_an_archive(
    world: S3World, archive: S3Archive
) -> None:
    with pytest.raises(ArchiveInvalid, match="in FileFlux itself"):
        await refuse_ourselves(archive, world.reader)
    assert await archive.names("probes/") == [], "nothing is left behind"


async def test_another_fileflux_is_somebody_else(archive: S3Archive) -> None:
    async with open_s3_world(seed=1) as other:
        await refuse_ourselves(archive, other.reader)
