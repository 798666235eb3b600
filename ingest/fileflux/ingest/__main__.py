"""The ingest process: `python -m fileflux.ingest`. A parent tends its workers, if several."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from fileflux.core.ops import bound_socket
from fileflux.core.service import announce, run_service
from fileflux.core.settings import load_settings
from fileflux.core.telemetry import get_logger
from fileflux.ingest.settings import IngestSettings
from fileflux.ingest.wiring import run_worker

log = get_logger(__name__)

WORKER_VARIABLE: Final = "FILEFLUX_INGEST_WORKER"
RESTART_S: Final = 0.5


async def main(stopping: asyncio.Event) -> None:
    settings = load_settings(IngestSettings)
    if settings.workers == 1 or WORKER_VARIABLE in os.environ:
        await run_worker(settings, stopping, shared=settings.workers > 1)
    else:
        await _tend_workers(settings, stopping)


async def _tend_workers(settings: IngestSettings, stopping: asyncio.Event) -> None:
    """Start the workers on shared ports; a worker that dies is started again.

    Any worker serves any staged bundle, so a URL that nodes were given outlives its worker.
    """
    holder = bound_socket(settings.host, settings.port, shared=True)
    internal = bound_socket(settings.host, settings.internal_port, shared=True)
    port = holder.getsockname()[1]
    ports = (port, internal.getsockname()[1])
    tasks = [
        asyncio.create_task(_tend(settings, number, ports, stopping), name=f"worker {number}")
        for number in range(settings.workers)
    ]
    announcer = asyncio.create_task(_announce_all(settings, port), name="announce")
    await asyncio.gather(*tasks)
    announcer.cancel()
    holder.close()
    internal.close()


async def _tend(
    settings: IngestSettings, number: int, ports: tuple[int, int], stopping: asyncio.Event
) -> None:
    while not stopping.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fileflux.ingest", env=_worker_env(settings, number, ports)
        )
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not ended.done():
            process.send_signal(signal.SIGTERM)
        code = await ended
        if not stopping.is_set():
            log.error("a worker ended and is started again", worker=number, exit_code=code)
            await asyncio.sleep(RESTART_S)


def _worker_env(settings: IngestSettings, number: int, ports: tuple[int, int]) -> dict[str, str]:
    """The parent's environment, with the shared ports (S3, internal) and those of its own."""
    port, internal_port = ports
    metrics_port = settings.metrics_port + number if settings.metrics_port else 0
    return {
        **os.environ,
        WORKER_VARIABLE: str(number),
        "FILEFLUX_INGEST_PORT": str(port),
        "FILEFLUX_INGEST_INTERNAL_PORT": str(internal_port),
        "FILEFLUX_INGEST_METRICS_PORT": str(metrics_port),
        "FILEFLUX_OPS_PORT": "0",
        "FILEFLUX_READY_FILE": _worker_file(settings, number),
    }


def _worker_file(settings: IngestSettings, number: int) -> str:
    return f"{settings.ready_file}.{number}" if settings.ready_file else ""


async def _announce_all(settings: IngestSettings, port: int) -> None:
    """The parent is ready when its first worker is; its ops port is that worker's."""
    if not settings.ready_file:
        return
    ports = await asyncio.to_thread(_wait_for_ports, Path(_worker_file(settings, 0)))
    announce(settings.ready_file, {**ports, "s3": port})


def _wait_for_ports(path: Path) -> dict[str, int]:
    while not path.exists():
        time.sleep(0.05)
    return dict(json.loads(path.read_text())["ports"])


if __name__ == "__main__":
    run_service(main, name="ingest")
