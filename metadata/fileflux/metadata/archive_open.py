"""The archive that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fileflux.metadata.archive import Archive
from fileflux.metadata.archive_directory import DirectoryArchive
from fileflux.metadata.archive_s3 import open_s3_archive
from fileflux.metadata.settings import ArchiverSettings


@asynccontextmanager
async def open_archive(settings: ArchiverSettings) -> AsyncIterator[Archive | None]:
    """Yield the archive, None if the settings name none. Nothing is asked of it yet."""
    parts = urlsplit(settings.archive_url)
    if not settings.archive_url:
        yield None
    elif parts.scheme == "file":
        yield DirectoryArchive(Path(unquote(parts.path)))
    else:
        prefix = parts.path.strip("/")
        async with open_s3_archive(
            parts.netloc,
            f"{prefix}/" if prefix else "",
            endpoint=settings.archive_endpoint,
            region=settings.archive_region,
            access_key=settings.archive_access_key,
            secret_key=settings.archive_secret_key.get_secret_value(),
        ) as archive:
            yield archive
