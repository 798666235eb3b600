"""S14: what a request claims about sizes is checked before it costs anything; memory stays flat."""

import gzip
import random
import tracemalloc

import pytest
from tests.model.asgi_client import exchange
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, S3World
from tests.security.inputs import Inputs
from tests.security.signing import sign

from fileflux.core.model import MIB, OBJECT_SIZE_BYTES_MAX

GIB = 1 << 30


@pytest.fixture
async def alice(world: S3World) -> Caller:
    alice = Caller(world.app, ALICE)
    assert (await alice("PUT", "/photos")).status == 200
    return alice


async def _claim(world: S3World, target: str, length: int, body: bytes) -> tuple[int, str, int]:
    """PUT with a length that is not the body's; the client leaves when it has sent it."""
    wire = sign("PUT", target, [("Content-Length", str(length))], payload="UNSIGNED-PAYLOAD")
    answer = await exchange(world.app, wire, [body, b"x"], gone_after=1)
    return answer.status, answer.code, answer.pieces_read


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip", "zstd"])
async def test_s14_a_compressed_body_is_stored_and_returned_as_it_is(
    encoding: str, world: S3World, alice: Caller, inputs: Inputs
) -> None:
    """A kilobyte that would inflate to a hundred megabytes stays a kilobyte."""
    inputs.count()
    bomb = gzip.compress(bytes(100 * MIB), 9)
    tracemalloc.start()
    put = await alice("PUT", "/photos/bomb", {"Content-Encoding": encoding}, bomb)
    got = await alice("GET", "/photos/bomb", {"Accept-Encoding": "identity"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (put.status, got.body) == (200, bomb)
    assert got.headers["content-encoding"] == encoding
    assert peak < 32 * MIB


async def test_s14_more_than_an_object_may_have_is_refused_before_the_body(
    world: S3World, alice: Caller, inputs: Inputs
) -> None:
    inputs.count()
    begun = await alice("POST", "/photos/big?uploads")
    upload_id = begun.xml().findtext("UploadId")
    for target in ("/photos/big", f"/photos/big?partNumber=1&uploadId={upload_id}"):
        for size in (OBJECT_SIZE_BYTES_MAX + 1, 10**15):
            assert await _claim(world, target, size, b"x") == (400, "EntityTooLarge", 0)
    assert (await _claim(world, "/photos/big", 10**20, b"x"))[:2] == (400, "InvalidRequest")


async def test_s14_five_gigabytes_declared_and_one_byte_sent_cost_nothing(
    world: S3World, alice: Caller, inputs: Inputs
) -> None:
    tracemalloc.start()
    for _ in range(50):
        inputs.count()
        assert (await _claim(world, "/photos/big", 5 * GIB, b"x"))[:2] == (400, "IncompleteBody")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 32 * MIB
    assert world.is_idle()
    assert world.staging.used_bytes == 0


async def test_s14_a_false_decoded_length_stores_nothing(
    world: S3World, alice: Caller, inputs: Inputs
) -> None:
    body = b"4\r\ndata\r\n0\r\n\r\n"
    for length in ("0", "3", "5", str(5 * GIB), str(6 * GIB), "-4", "4.0", "4,4", "٤"):
        inputs.count()
        headers = [("Content-Length", str(len(body))), ("Content-Encoding", "aws-chunked")]
        wire = sign("PUT", "/photos/x", headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        wire = wire.adding("x-amz-decoded-content-length", length)
        answer = await exchange(world.app, wire, [body])
        assert answer.status in (400, 411), (length, answer.body)
        assert (await alice("HEAD", "/photos/x")).status == 404


@pytest.mark.parametrize("count", [2, 100, 1000])
async def test_s14_many_ranges_are_answered_with_the_object_once(
    count: int, alice: Caller, inputs: Inputs
) -> None:
    inputs.count()
    await alice("PUT", "/photos/x", {}, b"0123456789")
    for unit in ("0-", "0-9", "5-5", "-1"):
        got = await alice("GET", "/photos/x", {"Range": "bytes=" + ",".join([unit] * count)})
        assert (got.status, got.body) == (200, b"0123456789")


async def test_s14_ranges_are_what_they_say_at_every_border(
    world: S3World, alice: Caller, inputs: Inputs
) -> None:
    rng = inputs.rng
    data = random.Random(14).randbytes(9 * MIB + 3)
    await alice("PUT", "/photos/x", {}, [data[at : at + MIB] for at in range(0, len(data), MIB)])
    borders = [0, 1, 65_535, 65_536, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, len(data) - 1, len(data)]
    for _ in inputs.rounds(0.004):
        first, last = rng.choice(borders), rng.choice([*borders, 10**30])
        got = await alice("GET", "/photos/x", {"Range": f"bytes={first}-{last}"})
        if last < first:
            assert (got.status, got.body) == (200, data)
        elif first >= len(data):
            assert got.code == "InvalidRange"
        else:
            assert (got.status, got.body) == (206, data[first : last + 1])
    assert world.is_idle()


async def test_s14_ten_thousand_and_one_parts_are_too_many(alice: Caller, inputs: Inputs) -> None:
    inputs.count()
    begun = await alice("POST", "/photos/big?uploads")
    target = f"/photos/big?uploadId={begun.xml().findtext('UploadId')}"
    part = "<Part><PartNumber>%d</PartNumber><ETag>x</ETag></Part>"
    for count in (10_001, 60_000):
        listed = "".join(part % number for number in range(1, count + 1))
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        answer = await alice("POST", target, {}, body)
        assert answer.status == 400
        assert answer.code in ("MalformedXML", "InvalidArgument", "MaxMessageLengthExceeded")


async def test_s14_a_thousand_and_one_deletes_are_too_many(alice: Caller, inputs: Inputs) -> None:
    inputs.count()
    await alice("PUT", "/photos/0", {}, b"x")
    keys = "".join(f"<Object><Key>{number}</Key></Object>" for number in range(1_001))
    answer = await alice("POST", "/photos?delete", {}, f"<Delete>{keys}</Delete>".encode())

    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert (await alice("HEAD", "/photos/0")).status == 200


async def test_s14_headers_and_parameters_have_a_number(alice: Caller, inputs: Inputs) -> None:
    inputs.count()
    many = {f"x-amz-meta-{number}": "x" for number in range(300)}
    assert (await alice("PUT", "/photos/x", many, b"x")).status == 400
    query = "&".join(f"p{number}=1" for number in range(300))
    assert (await alice("GET", f"/photos?{query}")).status == 400
