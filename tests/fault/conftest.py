"""One long-lived cluster for all faults: what one of them leaves behind, the next one meets."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fault.world import World, fault_rounds, fault_seed, make_world

SEED = pytest.StashKey[int]()
LINES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SEED] = fault_seed()
    config.stash[LINES] = []


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: FILEFLUX_FAULT_SEED={config.stash[SEED]}, {fault_rounds()} round(s)"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Every fault's line, also when all is well: a count that nobody sees proves nothing."""
    if config.stash[LINES]:
        terminalreporter.section(f"faults, seed {config.stash[SEED]}")
        for line in config.stash[LINES]:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def world(server_dir: Path, cache_dir: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """The running system with a bucket; stopped at the end."""
    made = make_world(server_dir / "system", cache_dir, seed=request.config.stash[SEED])
    made.lines = request.config.stash[LINES]
    made.start()
    try:
        with ThreadPoolExecutor(1) as thread:  # The loop here would be pytest-asyncio's.
            thread.submit(lambda: asyncio.run(made.make_bucket())).result()
        yield made
    finally:
        made.stop()
        if request.session.testsfailed:
            made.say(f"logs and histories are kept in {made.keep_evidence(cache_dir)}")
