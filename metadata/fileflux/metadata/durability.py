"""Whether the database keeps what it says it committed: asked by `fileflux doctor`."""

from typing import Final

import asyncpg

TIMEOUT_S: Final = 5.0
WANTED: Final = ("fsync", "synchronous_commit", "full_page_writes")


async def durability_problems(dsn: str) -> list[tuple[str, str]]:
    """Return (what is wrong, what to do) for each setting that may lose acknowledged writes.

    CockroachDB has no such settings: it always syncs its log.
    """
    connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    try:
        version: str = await connection.fetchval("SELECT version()", timeout=TIMEOUT_S)
        if "CockroachDB" in version:
            return []
        found = {name: await connection.fetchval(f"SHOW {name}") for name in WANTED}
    finally:
        await connection.close(timeout=TIMEOUT_S)
    return [
        (f"{name} is {value}", f"Set {name} = on: without it a 200 may be lost in a power cut.")
        for name, value in found.items()
        if value not in ("on", "remote_apply", "remote_write")
    ]
