"""The metadata processes with an archive and a key, as an operator would set them."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

LANES = 2
WAIT_S = 60.0


@contextlib.asynccontextmanager
async def metadata_process(
    environment: Mapping[str, str],
) -> AsyncIterator[asyncio.subprocess.Process]:
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.metadata", "all"), env={**os.environ, **environment}
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.terminate()
        async with asyncio.timeout(WAIT_S):
            await made.wait()


def environment_of(dsn: str, kafka: str, archive_url: str, key: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "FILEFLUX_LANES": str(LANES),
        "FILEFLUX_SLOTS": "1",
        "FILEFLUX_LOG_LEVEL": "ERROR",
        "FILEFLUX_ARCHIVE_URL": archive_url,
        "FILEFLUX_ARCHIVE_AFTER_S": "0.01",
        "FILEFLUX_ARCHIVE_KEEP_S": "0.01",
        "FILEFLUX_AUDIT_KEY_FILE": str(key),
        "FILEFLUX_CHECKPOINT_S": "0.05",
    }
