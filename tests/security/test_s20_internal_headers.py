"""S20: no header of our own services, or of a proxy, has a meaning when a client sends it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_requests import S3_REQUESTS, Names
from tests.model.s3_world import ALICE, BOB, S3World
from tests.security.crowd import ask_as, settle_in
from tests.security.inputs import Inputs

import fileflux.ingest

INTERNAL: Final = re.compile('"(x-(?:fileflux|forwarded|internal)-[a-z-]+)"', re.IGNORECASE)


def internal_headers() -> list[str]:
    """Every header name in our sources that a client has no business with, and proxies' own."""
    root = Path(fileflux.ingest.__file__).parents[3]
    sources = [path.read_text("utf-8") for path in root.glob("*/fileflux/*/*.py")]
    names = {name.lower() for source in sources for name in INTERNAL.findall(source)}
    return sorted(names | {"x-forwarded-for", "x-forwarded-host", "x-http-method-override"})


@pytest.mark.parametrize("header", internal_headers())
async def test_s20_an_internal_header_from_a_client_means_nothing(
    header: str, world: S3World, inputs: Inputs
) -> None:
    """But `x-fileflux-class`, which is S3's storage class of ours, and only at CreateBucket."""
    names = (await settle_in(world))["alice's"]
    for name, make in S3_REQUESTS.items():
        if name in ("DeleteBucket", "CreateBucket", "DeleteObject", "DeleteObjects"):
            continue
        inputs.count()
        request = make(names)
        given = replace(request, headers={**request.headers, header: "root"})
        answers = [await ask_as(world, BOB, given), await ask_as(world, None, given)]
        for answer in answers:
            assert answer.status == 403 or name == "ListBuckets", (name, answer.body)
        stored = (await ask_as(world, ALICE, replace(S3_REQUESTS["GetObject"](names)))).headers
        assert header not in stored
        if name in ("CompleteMultipartUpload", "AbortMultipartUpload"):
            names = await _with_new_upload(world, names)


async def _with_new_upload(world: S3World, names: Names) -> Names:
    begun = await Caller(world.app, ALICE)("POST", f"{names.path}?uploads")
    return replace(names, upload_id=begun.xml().findtext("UploadId") or "")


async def test_s20_an_internal_header_gives_nobody_more_rights_and_is_never_stored(
    world: S3World, inputs: Inputs
) -> None:
    await settle_in(world)
    alice = Caller(world.app, ALICE)
    for header in internal_headers():
        inputs.count()
        put = await alice("PUT", "/photos/with", {header: "1"}, b"x")
        assert put.status == 200, (header, put.body)
        got = await alice("GET", "/photos/with")
        assert header not in got.headers
