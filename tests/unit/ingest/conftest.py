"""A whole S3 endpoint in memory, and those who call it."""

from collections.abc import AsyncIterator

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, BOB, ROOT, S3World, open_s3_world


@pytest.fixture
async def s3_world() -> AsyncIterator[S3World]:
    async with open_s3_world() as world:
        yield world


@pytest.fixture
async def alice(s3_world: S3World) -> Caller:
    """She owns the bucket `photos`, with the object `key`."""
    alice = Caller(s3_world.app, ALICE)
    assert (await alice("PUT", "/photos")).status == 200
    headers = {"Content-Type": "text/plain", "x-amz-meta-colour": "red"}
    assert (await alice("PUT", "/photos/key", headers, b"0123456789")).status == 200
    return alice


@pytest.fixture
def bob(s3_world: S3World) -> Caller:
    return Caller(s3_world.app, BOB)


@pytest.fixture
def root(s3_world: S3World) -> Caller:
    return Caller(s3_world.app, ROOT)
