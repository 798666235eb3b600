"""S10: a bucket's name is a host's name, and nothing that looks like one is taken for it."""

import random
from collections.abc import Sequence
from typing import Final

import pytest
from tests.security.inputs import Inputs

from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.names import check_bucket_name, is_bucket_name
from fileflux.ingest.parsed_request import RawRequest, parse_request
from fileflux.ingest.s3_errors import S3Error

DOMAIN: Final = "s3.example.org"
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ALPHABET: Final = (*"ab09-.", *"A_ /\\%\x00\r\né☃", "xn--", "-s3alias", "192.168.0.1")
GOOD: Final = (
    *("abc", "a-b", "a.b", "0.1", "a" * 63, "1.2.3.4.5", "1.2.3", "my-bucket.2026", "a--b"),
    *("xn-a", "sthree", "s3alias", "upload", "authenticate", "health", "metrics", "192.168.0.a"),
)
BAD: Final = (
    *("", "a", "ab", "a" * 64, "a" * 1000, "Abc", "aBc", "a_b", "create_bucket", "delete_bucket"),
    *("create_user", "-ab", "ab-", ".ab", "ab.", "a..b", "a.-b", "a-.b", "a b", "a/b", "a\\b"),
    *("192.168.0.1", "999.999.999.999", "10.0.0.0", "127.0.0.1", "xn--a", "sthree-a", "a%b", "a@b"),
    *("sthree-configurator", "amzn-s3-demo-a", "a-s3alias", "a--ol-s3", "a.mrap", "a--x-s3"),
    *("a--table-s3", "abc\n", "\nabc", "abc\x00", "ébc", "\uff41bc", "a\u200bbc", "abc:", "[::1]"),
)


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_s3_allows_is_allowed(name: str) -> None:
    check_bucket_name(name)


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_s3_forbids_is_refused(name: str) -> None:
    with pytest.raises(S3Error) as refusal:
        check_bucket_name(name)

    assert (refusal.value.code, refusal.value.status) == ("InvalidBucketName", 400)


def allowed(name: str) -> bool:
    """S3's rules once more, in other words."""
    labels = name.split(".")
    return (
        3 <= len(name) <= 63
        and all(char in LETTERS + "-." for char in name)
        and all(label and label[0] in LETTERS and label[-1] in LETTERS for label in labels)
        and not (len(labels) == 4 and all(label.isdigit() for label in labels))
        and not any(name.startswith(each) for each in ("xn--", "sthree-", "amzn-s3-demo-"))
        and not any(
            name.endswith(each) for each in ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
        )
    )


def random_name(rng: random.Random, alphabet: Sequence[str] = ALPHABET) -> str:
    size = rng.choice((1, 2, 3, 4, 8, 62, 63, 64))
    return "".join(rng.choices(alphabet[: rng.choice((6, len(alphabet)))], k=size))


def test_names_are_judged_by_the_rules(inputs: Inputs) -> None:
    for _ in inputs.rounds(0.1):
        name = random_name(inputs.rng)

        assert is_bucket_name(name) is allowed(name), name


def test_a_host_names_a_bucket_or_nothing(inputs: Inputs) -> None:
    """Whatever stands before our domain is one name, which is valid or refused."""
    for _ in inputs.rounds(0.05):
        name = random_name(inputs.rng)
        host = f"{name}.{DOMAIN}".encode()
        raw = RawRequest("GET", b"/path/key", b"", [(b"host", host)])
        try:
            parsed = parse_request(raw, domains=(DOMAIN,))
            check_bucket_name(parsed.bucket)
        except (S3Error, S3RequestError) as refusal:
            status = refusal.status
        else:
            status = 400
            assert parsed.bucket in (name.lower(), "path")
            assert parsed.key == (b"key" if parsed.bucket == "path" else b"path/key")
        assert status == 400


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"a.s3.example.org"), (b"host", b"b.s3.example.org")],
        [(b"host", b"a.s3.example.org"), (b"Host", b"a.s3.example.org")],
        [(b"host", b"a.s3.example.org\r\nx: y")],
        [(b"host", b"a\x00.s3.example.org")],
    ],
)
def test_two_hosts_or_half_a_host_name_no_bucket(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(S3RequestError) as refusal:
        parse_request(RawRequest("GET", b"/key", b"", headers), domains=(DOMAIN,))

    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "host",
    [b"a/b.s3.example.org", b"a/../b.s3.example.org", b"a@b.s3.example.org", b"..s3.example.org"],
)
def test_a_host_with_more_than_a_host_names_no_bucket(host: bytes) -> None:
    parsed = parse_request(RawRequest("GET", b"/key", b"", [(b"host", host)]), domains=(DOMAIN,))

    assert not is_bucket_name(parsed.bucket)


@pytest.mark.parametrize(
    "target", [b"http://a.s3.example.org/key", b"*", b"a.example.org:443", b""]
)
def test_a_target_that_is_no_path_is_refused(target: bytes) -> None:
    with pytest.raises(S3RequestError, match="path"):
        parse_request(RawRequest("GET", target, b"", [(b"host", b"h")]), domains=(DOMAIN,))


REST_PATHS: Final = (
    ("POST", "/create_user"),
    ("GET", "/authenticate"),
    ("POST", "/create_bucket/bucket"),
    ("DELETE", "/delete_bucket/bucket"),
    ("PUT", "/upload/bucket/key"),
)
REST_OBJECT_METHODS: Final = ("GET", "HEAD", "DELETE")


@pytest.mark.parametrize(("method", "path"), REST_PATHS)
def test_no_bucket_hides_a_rest_endpoint(method: str, path: str) -> None:
    """REST reads `/<bucket>/<key>` beside them: by name, method or length they differ from it."""
    first, *rest = path.strip("/").split("/")
    is_object = bool(rest) and method in REST_OBJECT_METHODS

    assert not (is_bucket_name(first) and is_object)
