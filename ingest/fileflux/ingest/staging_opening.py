"""Open the staging that the settings ask for: a directory of this host, or a bucket."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import uvicorn

from fileflux.core.clock import SystemClock
from fileflux.core.errors import Invalid
from fileflux.core.ids import Incarnation
from fileflux.core.ops import EmbeddedServer, bound_socket
from fileflux.core.tracing_asgi import traced_app
from fileflux.ingest.asynchronous import StagingWithNotes
from fileflux.ingest.large_upload import MEMORY_BYTES
from fileflux.ingest.settings import IngestSettings
from fileflux.ingest.staging import StagingHost
from fileflux.ingest.staging_api import StagingApi
from fileflux.ingest.staging_bucket import open_bucket
from fileflux.ingest.staging_files import open_staging
from fileflux.ingest.staging_host import FileHost
from fileflux.ingest.staging_s3 import CHUNK_MEMORY_BYTES, S3Host, start_s3_staging


@dataclass(frozen=True, slots=True)
class OpenStaging:
    """`large_bytes`: what a large upload holds in memory with this staging."""

    host: StagingHost
    staging: StagingWithNotes
    large_bytes: int = MEMORY_BYTES


async def open_settings_staging(
    settings: IngestSettings, stack: AsyncExitStack, incarnation: Incarnation, *, shared: bool
) -> OpenStaging:
    """Open our staging until the stack ends. `shared`: workers serve on one internal port."""
    if settings.staging == "s3":
        return await _open_bucket_staging(settings, stack, incarnation)
    return await _open_directory_staging(settings, stack, incarnation, shared=shared)


async def _open_directory_staging(
    settings: IngestSettings, stack: AsyncExitStack, incarnation: Incarnation, *, shared: bool
) -> OpenStaging:
    """Serve every incarnation's bundles of this host, and open ours."""
    internal = bound_socket(settings.host, settings.internal_port, shared=shared)
    base_url = settings.advertised_url or f"http://{settings.host}:{internal.getsockname()[1]}"
    host = FileHost(settings.staging_dir, base_url=base_url)
    staging = open_staging(
        settings.staging_dir,
        incarnation,
        budget_bytes=settings.staging_share_bytes,
        base_url=base_url,
    )
    stack.callback(staging.close)
    secret = settings.cluster_secret.get_secret_value().encode()
    api = StagingApi(host, secret=secret, clock=SystemClock())
    app = traced_app(api.app(), "GET staged bundle")
    config = uvicorn.Config(app, host=settings.host, access_log=False, log_config=None)
    server = EmbeddedServer(config)
    await server.start(internal)
    stack.push_async_callback(server.stop)
    return OpenStaging(host, staging)


async def _open_bucket_staging(
    settings: IngestSettings, stack: AsyncExitStack, incarnation: Incarnation
) -> OpenStaging:
    """Take a fresh lease in the bucket and hold it."""
    if not settings.staging_s3_bucket:
        raise Invalid("FILEFLUX_INGEST_STAGING is s3, but no FILEFLUX_INGEST_STAGING_S3_BUCKET")
    clock = SystemClock()
    bucket = await stack.enter_async_context(
        open_bucket(
            settings.staging_s3_bucket,
            endpoint=settings.staging_s3_endpoint or None,
            region=settings.staging_s3_region,
        )
    )
    staging = await start_s3_staging(
        bucket, incarnation, budget_bytes=settings.staging_share_bytes, clock=clock
    )
    holding = asyncio.create_task(staging.hold_lease(clock), name="hold the staging's lease")
    stack.callback(holding.cancel)
    return OpenStaging(S3Host(bucket, clock), staging, MEMORY_BYTES + CHUNK_MEMORY_BYTES)
