"""The worked examples that AWS publishes. Their numbers are facts; nothing here computes them."""

import hashlib
from typing import Final

import pytest
from tests.security.signing import ACCESS_KEY, NOW_S, SECRET_KEY, TIMESTAMP, Wire, ask

from fileflux.core.checksum import Algorithm
from fileflux.ingest.auth import Authenticated, Scheme
from fileflux.ingest.auth_errors import SignatureDoesNotMatch
from fileflux.ingest.aws_chunked import AwsChunkedDecoder
from fileflux.ingest.payload_mode import PayloadKind
from fileflux.ingest.sigv4 import Scope, signing_key

CREDENTIAL: Final = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request"
BUCKET_HOST: Final = (b"Host", b"examplebucket.s3.amazonaws.com")
DATE: Final = (b"x-amz-date", TIMESTAMP.encode())
EMPTY: Final = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EMPTY_HASH: Final = (b"x-amz-content-sha256", EMPTY)


def _example(
    method: str, target: bytes, *headers: tuple[bytes, bytes], names: str, signature: str
) -> Wire:
    path, _, query = target.partition(b"?")
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders={names},Signature={signature}"
    )
    return Wire(method, path, query, ((b"Authorization", authorization.encode()), *headers))


GET_OBJECT: Final = _example(
    "GET",
    b"/test.txt",
    BUCKET_HOST,
    (b"Range", b"bytes=0-9"),
    EMPTY_HASH,
    DATE,
    names="host;range;x-amz-content-sha256;x-amz-date",
    signature="f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
)
PUT_OBJECT: Final = _example(
    "PUT",
    b"/test%24file.text",
    BUCKET_HOST,
    (b"Date", b"Fri, 24 May 2013 00:00:00 GMT"),
    DATE,
    (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
    (
        b"x-amz-content-sha256",
        b"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    ),
    names="date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
    signature="98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
)
GET_LIFECYCLE: Final = _example(
    "GET",
    b"/?lifecycle",
    BUCKET_HOST,
    DATE,
    EMPTY_HASH,
    names="host;x-amz-content-sha256;x-amz-date",
    signature="fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
)
LIST_OBJECTS: Final = _example(
    "GET",
    b"/?max-keys=2&prefix=J",
    BUCKET_HOST,
    DATE,
    EMPTY_HASH,
    names="host;x-amz-content-sha256;x-amz-date",
    signature="34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
)
PRESIGNED: Final = Wire(
    "GET",
    b"/test.txt",
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256"
    b"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    (BUCKET_HOST,),
)
CHUNKED: Final = _example(
    "PUT",
    b"/examplebucket/chunkObject.txt",
    (b"Host", b"s3.amazonaws.com"),
    DATE,
    (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
    (b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    (b"Content-Encoding", b"aws-chunked"),
    (b"x-amz-decoded-content-length", b"66560"),
    (b"Content-Length", b"66824"),
    names="content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
    "x-amz-decoded-content-length;x-amz-storage-class",
    signature="4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
)
CHUNKED_BODY: Final = b"".join(
    (
        b"10000;chunk-signature=",
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
        b"a" * 65536,
        b"\r\n400;chunk-signature=",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
        b"a" * 1024,
        b"\r\n0;chunk-signature=",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
    )
)
TRAILER: Final = _example(
    "PUT",
    b"/examplebucket/chunkObject.txt",
    (b"Host", b"s3.amazonaws.com"),
    DATE,
    (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
    (b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
    (b"Content-Encoding", b"aws-chunked"),
    (b"x-amz-decoded-content-length", b"66560"),
    (b"x-amz-trailer", b"x-amz-checksum-crc32c"),
    names="content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
    "x-amz-storage-class;x-amz-trailer",
    signature="106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
)
TRAILER_BODY: Final = b"".join(
    (
        b"10000;chunk-signature=",
        b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n",
        b"a" * 65536,
        b"\r\n400;chunk-signature=",
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
        b"a" * 1024,
        b"\r\n0;chunk-signature=",
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n",
        b"x-amz-trailer-signature:",
        b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
    )
)


@pytest.mark.parametrize(
    "example",
    [GET_OBJECT, PUT_OBJECT, GET_LIFECYCLE, LIST_OBJECTS, CHUNKED, TRAILER],
    ids=["GET object", "PUT object", "GET lifecycle", "list", "chunked", "trailer"],
)
async def test_the_published_header_example_is_accepted(example: Wire) -> None:
    verified = await ask(example)

    assert verified.scheme is Scheme.SIGV4_HEADER
    assert verified.principal.access_key == ACCESS_KEY


async def test_the_published_presigned_example_is_accepted_for_its_day_and_no_longer() -> None:
    verified = await ask(PRESIGNED, now_s=NOW_S + 86_400)

    assert verified.scheme is Scheme.SIGV4_QUERY
    assert verified.payload.kind is PayloadKind.UNSIGNED


async def test_the_put_example_signs_the_hash_of_its_body() -> None:
    verified = await ask(PUT_OBJECT)

    assert verified.payload.sha256 == hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()


async def test_an_example_with_another_key_name_is_refused() -> None:
    other = Wire(GET_OBJECT.method, b"/test.tx2", b"", GET_OBJECT.headers)
    with pytest.raises(SignatureDoesNotMatch):
        await ask(other)


def _decode(verified: Authenticated, body: bytes) -> tuple[bytes, str | None]:
    decoder = AwsChunkedDecoder(verified.payload)
    plain = b"".join(decoder.feed(body))
    return plain, decoder.finish()


async def test_the_published_chunked_body_is_accepted() -> None:
    assert len(CHUNKED_BODY) == 66824
    assert _decode(await ask(CHUNKED), CHUNKED_BODY) == (b"a" * 66560, None)


async def test_the_published_trailer_body_is_accepted() -> None:
    verified = await ask(TRAILER)

    assert verified.payload.trailer is Algorithm.CRC32C
    assert _decode(verified, TRAILER_BODY) == (b"a" * 66560, "sOO8/Q==")


async def test_the_published_bodies_cannot_be_swapped() -> None:
    with pytest.raises(SignatureDoesNotMatch):
        _decode(await ask(CHUNKED), TRAILER_BODY)
    with pytest.raises(SignatureDoesNotMatch):
        _decode(await ask(TRAILER), CHUNKED_BODY)


def test_the_signing_key_of_the_examples() -> None:
    key = signing_key(SECRET_KEY, Scope("20130524", "us-east-1", "s3"))

    assert key.hex() == "dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378"
