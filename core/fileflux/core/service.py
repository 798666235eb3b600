"""How every process of FileFlux runs: one loop, logs set up, a clean stop on SIGTERM.

`main(stopping)` starts the service, awaits `stopping`, and drains. A wrong environment ends with
exit code 2 and every problem listed; an unexpected end with 1, so that the supervisor restarts.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import uvloop

from fileflux.core.errors import Invalid
from fileflux.core.settings import CommonSettings, SettingsInvalid, load_settings
from fileflux.core.telemetry import LOOP_LAG, configure_logging, get_logger
from fileflux.core.tracing import install
from fileflux.core.tracing_choice import choose_tracer

log = get_logger(__name__)

EXIT_SETTINGS: Final = 2
LAST_SPANS_S: Final = 3.0
"""So long a stopping process waits for the collector of its traces, if it has one."""
LOOP_LAG_INTERVAL_S: Final = 0.5
GC_THRESHOLDS: Final = (20_000, 20, 20)
"""A seal of 200 uploads is thousands of objects: with Python's defaults every second transaction
met a full collection of 20 ms (p99 39 ms, with these 22)."""

Main = Callable[[asyncio.Event], Awaitable[None]]


def run_service(main: Main, *, name: str = "") -> None:
    """Run `main(stopping)` until it returns, then exit. `name`: the service's, in traces."""
    try:
        common = load_settings(CommonSettings)
        configure_logging(level=common.log_level, log_format=common.log_format)
        tracer = choose_tracer(name)
        install(tracer)
        _calm_collector()
        try:
            uvloop.run(_run(main))
        finally:
            tracer.close(timeout_s=LAST_SPANS_S)
    except SettingsInvalid as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_SETTINGS)
    except Invalid as error:
        print(f"cannot start: {error}", file=sys.stderr)
        sys.exit(1)


def _calm_collector() -> None:
    """Everything imported stays for ever, so collections need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _run(main: Main) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    lag = asyncio.create_task(_measure_lag(), name="loop lag")
    try:
        await main(stopping)
    finally:
        lag.cancel()


async def _measure_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(LOOP_LAG_INTERVAL_S)
        LOOP_LAG.set(max(0.0, loop.time() - before - LOOP_LAG_INTERVAL_S))


def announce(ready_file: str, ports: Mapping[str, int]) -> None:
    """Write {"pid", "ports"} where the supervisor looks for it, whole or not at all."""
    if not ready_file:
        return
    path = Path(ready_file)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({"pid": os.getpid(), "ports": dict(ports)}))
    draft.replace(path)
