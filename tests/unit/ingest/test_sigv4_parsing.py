"""One parse of the request: what a path, a query and headers mean, or that they mean nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.security.signing import ask, sign

from fileflux.ingest import percent, sigv4
from fileflux.ingest.auth_errors import InvalidArgument, InvalidRequest, InvalidURI, KeyTooLong
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request

HOST = (b"Host", b"localhost")


def _parsed(path: bytes, query: bytes = b"", *headers: tuple[bytes, bytes]) -> ParsedRequest:
    return parse_request(RawRequest("GET", path, query, (HOST, *headers)))


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [
        (b"/", "", b""),
        (b"/bucket", "bucket", b""),
        (b"/bucket/", "bucket", b""),
        (b"/bucket/key", "bucket", b"key"),
        (b"/bucket//a//b/", "bucket", b"/a//b/"),
        (b"/bucket/./../x", "bucket", b"./../x"),
        (b"/bucket/%2e%2E%2f", "bucket", b"../"),
        (b"/bucket/a+b~%20c", "bucket", b"a+b~ c"),
        (b"/bucket/%252F", "bucket", b"%2F"),
        (b"/bucket%2Fkey", "bucket", b"key"),
        (b"/bucket/%00%0D%0A", "bucket", b"\x00\r\n"),
        (b"/bucket/%C3%A9\xc3\xa9", "bucket", "éé".encode()),
        (b"/bucket/a\\b", "bucket", b"a\\b"),
    ],
)
def test_a_path_is_decoded_once_and_never_tidied(path: bytes, bucket: str, key: bytes) -> None:
    parsed = _parsed(path)

    assert (parsed.bucket, parsed.key) == (bucket, key)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"bucket/key",
        b"*",
        b"http://host/bucket/key",
        b"/bucket/%",
        b"/bucket/%4",
        b"/bucket/%zz",
        b"/bucket/%%41",
        b"/bucket/a b",
        b"/bucket/a\x00",
        b"/bucket/a\r\nb",
        b"/bucket/#fragment",
        b"/bucket/\x7f",
        b"/bucket/%FF",
        b"/bucket/%C0%AF",
        b"/bucket/%ED%A0%80",
        b"/bucket/%F4%90%80%80",
        b"/bucket/\xe9",
        b"/b%ffcket/key",
    ],
)
def test_a_path_without_one_meaning_is_refused(path: bytes) -> None:
    with pytest.raises(InvalidURI):
        _parsed(path)


@given(st.binary(max_size=60))
def test_the_canonical_path_is_decoded_to_the_path(path: bytes) -> None:
    assert percent.decode(percent.encode_path(path).encode()) == path


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_canonical_parameter_is_decoded_to_the_parameter(text: str) -> None:
    encoded = percent.encode_text(text)

    assert percent.decode_text(encoded.encode()) == text
    assert set(encoded) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%"
    )


def test_a_query_is_decoded_with_its_order_and_its_repetitions() -> None:
    parsed = _parsed(b"/b", b"prefix=a+b%2Fc&uploads&&x=&prefix=%C3%A9=1")

    assert parsed.query == (
        ("prefix", "a b/c"),
        ("uploads", ""),
        ("x", ""),
        ("prefix", "é=1"),
    )
    assert parsed.has("uploads")
    assert parsed.param("x") == ""
    assert parsed.param("absent") is None
    with pytest.raises(InvalidArgument, match="prefix"):
        parsed.param("prefix")


@pytest.mark.parametrize("query", [b"a=%", b"a=%FF", b"%ED%B0%80=1", b"a=\x00", b"a=b c"])
def test_a_query_without_one_meaning_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidURI):
        _parsed(b"/b", query)


def test_a_query_has_256_parameters_at_most() -> None:
    assert len(_parsed(b"/b", b"&".join([b"a=1"] * 256)).query) == 256
    with pytest.raises(InvalidArgument):
        _parsed(b"/b", b"&".join([b"a=1"] * 257))


def test_a_request_has_256_headers_at_most() -> None:
    many = [(b"x-amz-meta-a", b"1")] * 255
    assert _parsed(b"/b", b"", *many).headers["x-amz-meta-a"] == ",".join(["1"] * 255)
    with pytest.raises(InvalidRequest):
        _parsed(b"/b", b"", *many, (b"a", b"1"))


def test_headers_are_lower_case_trimmed_and_joined() -> None:
    parsed = _parsed(
        b"/b",
        b"",
        (b"X-Amz-Meta-A", b" \tone  two\t "),
        (b"x-amz-meta-a", b"three"),
        (b"X-Amz-Meta-U", "é\xa0".encode()),
    )

    assert parsed.headers["x-amz-meta-a"] == "one  two,three"
    assert parsed.headers["x-amz-meta-u"].encode("latin-1") == "é\xa0".encode()


def test_blanks_collapse_and_octets_of_letters_do_not() -> None:
    """In UTF-8 the second octet of `à` is Latin-1's no-break space, which str.split() eats."""
    value = "à  \t b\x85".encode().decode("latin-1")
    canonical = sigv4.canonical_request(
        "GET", b"/", (), headers={"x": value}, signed_headers=["x"], payload_hash=""
    )

    assert canonical.encode("latin-1").split(b"\n")[3] == "x:à b\x85".encode()


@pytest.mark.parametrize("value", [b"a\nhost:evil", b"a\rb", b"a\x00", b"\x7f", b"\x0b"])
def test_a_header_cannot_smuggle_a_line_into_the_canonical_request(value: bytes) -> None:
    with pytest.raises(InvalidRequest):
        _parsed(b"/b", b"", (b"x-amz-meta-a", value))


def test_a_bucket_may_be_named_by_the_host() -> None:
    def parsed(host: bytes) -> tuple[str, bytes]:
        raw = RawRequest("GET", b"/a/b", b"", ((b"host", host),))
        one = parse_request(raw, domains=("s3.example.org",))
        return one.bucket, one.key

    assert parsed(b"my.bucket.s3.example.org:9000") == ("my.bucket", b"a/b")
    assert parsed(b"Bucket.S3.Example.org") == ("bucket", b"a/b")
    assert parsed(b"s3.example.org") == ("a", b"b")
    assert parsed(b"bucket.s3.example.org.evil") == ("a", b"b")
    assert parsed(b"buckets3.example.org") == ("a", b"b")


async def test_a_key_has_1024_bytes_at_most() -> None:
    assert len((await ask(sign("GET", "/b/" + "k" * 1024))).request.key) == 1024
    with pytest.raises(KeyTooLong):
        await ask(sign("GET", "/b/" + "k" * 1025))
    with pytest.raises(KeyTooLong):
        await ask(sign("GET", "/b/" + "%C3%A9" * 513))
