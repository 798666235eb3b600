"""Each test of the battery draws its inputs here; the counts are printed at the end.

`FILEFLUX_SECURITY_INPUTS` is the total of the seeded rows; the default is what CI runs.
"""

import os
import random
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.model.s3_world import S3World, open_s3_world
from tests.security.inputs import COUNTS, Inputs


@pytest.fixture
def inputs(request: pytest.FixtureRequest) -> Inputs:
    """`FILEFLUX_SECURITY_SEED` chooses other inputs; the same seed gives the same ones."""
    seed = int(os.environ.get("FILEFLUX_SECURITY_SEED") or 1)
    row = request.path.stem.split("_")[1].upper()
    return Inputs(row, random.Random(seed * 2**32 + zlib.crc32(request.node.name.encode())))


@pytest.fixture
async def world() -> AsyncIterator[S3World]:
    """The S3 application over in-memory twins."""
    async with open_s3_world() as world:
        yield world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("security")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        rows = ", ".join(f"{row} {count:,}" for row, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"security inputs: {sum(COUNTS.values()):,} ({rows})")
