"""What is stored with an object comes back as it was, and can never break an answer."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.model import ObjectMeta
from fileflux.ingest import rfc2047
from fileflux.ingest.conditions import Validators
from fileflux.ingest.object_headers import (
    claimed_checksums,
    multipart_checksum,
    not_modified_headers,
    object_headers,
    response_overrides,
    stored_headers,
    wants_checksums,
)
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request
from fileflux.ingest.s3_errors import S3Error

CURRENT = Validators("abc", 784_111_777_000_000)
SHA256 = "x" * 43 + "="


def get(query: str) -> ParsedRequest:
    return parse_request(RawRequest("GET", b"/bucket/key", query.encode(), []))


def returned(headers: dict[str, str]) -> dict[str, str]:
    return object_headers(stored_headers(headers), CURRENT)


def test_the_headers_that_s3_stores_come_back() -> None:
    headers = {
        "cache-control": "no-cache",
        "content-disposition": 'attachment; filename="a.txt"',
        "content-encoding": "gzip",
        "content-language": "de",
        "content-type": "text/plain",
        "expires": "never",
        "x-amz-meta-colour": "Green",
    }

    assert headers.items() <= returned(headers).items()


def test_headers_of_the_transfer_are_not_the_object_s() -> None:
    headers = {"content-length": "5", "content-md5": "x", "authorization": "secret", "host": "h"}

    assert stored_headers(headers) == ObjectMeta()


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, AWS-Chunked", "gzip"),
        ("br", "br"),
    ],
)
def test_the_coding_of_the_transfer_is_not_stored(sent: str, stored: str | None) -> None:
    assert stored_headers({"content-encoding": sent}).headers.get("content-encoding") == stored


def test_an_object_without_a_type_is_bytes() -> None:
    assert returned({})["content-type"] == "binary/octet-stream"


def test_every_answer_forbids_to_guess_the_type() -> None:
    assert returned({"content-type": "text/plain"})["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("kind", ["text/html", "TEXT/HTML; charset=x", "image/svg+xml", "text/xml"])
def test_a_stored_page_does_not_run_as_ours(kind: str) -> None:
    assert returned({"content-type": kind})["content-security-policy"] == "sandbox"


def test_a_document_that_does_not_run_is_shown_as_it_is() -> None:
    assert "content-security-policy" not in returned({"content-type": "application/pdf"})


def test_two_kib_of_metadata_are_enough() -> None:
    assert stored_headers({"x-amz-meta-a": "x" * 2047}).user == {"a": "x" * 2047}

    with pytest.raises(S3Error) as refusal:
        stored_headers({"x-amz-meta-a": "x" * 2048})

    assert (refusal.value.code, refusal.value.status) == ("MetadataTooLarge", 400)
    assert refusal.value.extra == {"Size": "2049", "MaxSizeAllowed": "2048"}


def test_the_system_s_metadata_has_a_limit_too() -> None:
    with pytest.raises(S3Error, match="MetadataTooLarge"):
        stored_headers({"content-disposition": "x" * 3000})


@pytest.mark.parametrize(
    "name", ["x-amz-meta-", "x-amz-meta-a b", "x-amz-meta-ä", "x-amz-meta-a:b"]
)
def test_metadata_has_a_name_that_a_header_can_have(name: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        stored_headers({name: "value"})


def test_utf_8_in_metadata_leaves_as_an_encoded_word() -> None:
    sent = "Ä ö".encode().decode("latin-1")

    assert stored_headers({"x-amz-meta-a": sent}).user == {"a": "Ä ö"}
    encoded = base64.b64encode("Ä ö".encode()).decode()
    assert returned({"x-amz-meta-a": sent})["x-amz-meta-a"] == f"=?UTF-8?B?{encoded}?="


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("plain", "plain"),
        ("a=?b", "a=?b"),
        ("=?UTF-8?Q?=C3=84_x?=", "Ä x"),
        ("=?utf-8?b?w4Q=?=", "Ä"),
        ("=?ISO-8859-1?Q?=C4?=", "Ä"),
        ("=?UTF-8?B?w4Q=?= =?UTF-8?B?w4Q=?=", "ÄÄ"),
        ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
        ("=?UTF-8?Q?=FF?=", "=?UTF-8?Q?=FF?="),
        ("=?klingon?Q?a?=", "=?klingon?Q?a?="),
        ("\xff\xfe", "\xff\xfe"),
    ],
)
def test_encoded_words_are_stored_decoded(sent: str, stored: str) -> None:
    assert rfc2047.decode(sent) == stored


@pytest.mark.parametrize("sent", ["=?UTF-8?Q?a=0D=0AX:_y?=", "=?UTF-8?B?AA==?=", "=?UTF-8?Q?=7F?="])
def test_a_line_end_in_disguise_stays_disguised(sent: str) -> None:
    assert returned({"x-amz-meta-a": sent})["x-amz-meta-a"] == sent


@given(st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60))
def test_what_metadata_says_does_not_change_on_its_way(sent: str) -> None:
    sent = sent.strip()
    left = rfc2047.encode(rfc2047.decode(sent))

    assert rfc2047.decode(left) == rfc2047.decode(sent)
    assert left.isascii()
    assert left == sent or left.startswith("=?UTF-8?B?")


@given(st.text(max_size=60))
def test_any_stored_text_leaves_as_a_header_that_means_it(value: str) -> None:
    """Rows may come from elsewhere: a salvage, an older version."""
    value = value.encode("utf-8", "replace").decode("utf-8")
    left = rfc2047.encode(value)

    assert left.isascii()
    assert "\r" not in left
    assert "\n" not in left


@given(st.text(st.sampled_from("=?UTF-8bq_ abc0AD\r\n\x00Äé"), max_size=40))
def test_hostile_metadata_never_splits_an_answer(value: str) -> None:
    meta = ObjectMeta(user={"a": rfc2047.decode(value.encode("utf-8").decode("latin-1"))})

    left = object_headers(meta, CURRENT)["x-amz-meta-a"]

    assert left.isascii()
    assert not any(char < " " and char != "\t" for char in left)


def test_a_url_may_replace_some_headers() -> None:
    overrides = response_overrides(get("response-content-type=text/csv&response-expires=x&a=b"))

    assert overrides == {"content-type": "text/csv", "expires": "x"}
    headers = object_headers(
        ObjectMeta(headers={"content-type": "a/b"}), CURRENT, overrides=overrides
    )
    assert headers["content-type"] == "text/csv"


def test_a_stranger_may_not_replace_headers() -> None:
    with pytest.raises(S3Error, match="anonymous"):
        response_overrides(get("response-content-type=text/html"), is_signed=False)


@pytest.mark.parametrize("value", ["a%0D%0AX-Evil:%201", "%00", "a%0Ab", "%E2%82%AC", "%7F"])
def test_a_url_cannot_end_a_header(value: str) -> None:
    with pytest.raises(S3Error) as refusal:
        response_overrides(get(f"response-content-disposition={value}"))

    assert refusal.value.code == "InvalidArgument"
    assert refusal.value.extra["ArgumentName"] == "response-content-disposition"


def test_a_replaced_type_is_sandboxed_like_a_stored_one() -> None:
    headers = object_headers(ObjectMeta(), CURRENT, overrides={"content-type": "text/html"})

    assert headers["content-security-policy"] == "sandbox"


def test_checksums_come_when_they_are_asked_for() -> None:
    meta = ObjectMeta(checksums={"CRC64NVME": "AAAAAAAAAAA="}, checksum_type="FULL_OBJECT")

    assert wants_checksums({"x-amz-checksum-mode": "ENABLED"})
    assert not wants_checksums({})
    headers = object_headers(meta, CURRENT, with_checksums=True, parts_count=3)
    assert headers["x-amz-checksum-crc64nvme"] == "AAAAAAAAAAA="
    assert headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert headers["x-amz-mp-parts-count"] == "3"
    assert not any(name.startswith("x-amz-") for name in object_headers(meta, CURRENT))


def test_not_modified_repeats_what_caches_need() -> None:
    headers = returned({"cache-control": "no-cache", "content-type": "a/b"})

    assert set(not_modified_headers(headers)) == {"cache-control", "etag", "last-modified"}


@pytest.mark.parametrize(
    ("algorithm", "kind", "expected"),
    [
        ("", "", ("", "")),
        ("CRC32", "", ("CRC32", "COMPOSITE")),
        ("crc32c", "full_object", ("CRC32C", "FULL_OBJECT")),
        ("CRC64NVME", "", ("CRC64NVME", "FULL_OBJECT")),
        ("SHA256", "COMPOSITE", ("SHA256", "COMPOSITE")),
    ],
)
def test_a_multipart_upload_has_the_checksum_it_chose(
    algorithm: str, kind: str, expected: tuple[str, str]
) -> None:
    assert multipart_checksum(_choice(algorithm, kind)) == expected


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("CRC64NVME", "COMPOSITE"),
        ("SHA1", "FULL_OBJECT"),
        ("SHA256", "FULL_OBJECT"),
        ("MD5", ""),
        ("XXHASH64", ""),
        ("", "COMPOSITE"),
        ("CRC32", "HALF"),
    ],
)
def test_a_checksum_that_parts_cannot_have_is_refused(algorithm: str, kind: str) -> None:
    with pytest.raises(S3Error) as refusal:
        multipart_checksum(_choice(algorithm, kind))

    assert refusal.value.status == 400


def _choice(algorithm: str, kind: str) -> dict[str, str]:
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    return {name: value for name, value in headers.items() if value}


def test_complete_may_claim_the_whole_object_s_checksum() -> None:
    claimed = claimed_checksums({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "a"})

    assert claimed == {"CRC32": "AAAAAA=="}
    assert claimed_checksums({"x-amz-checksum-crc32": "AAAAAA==-3"}) == {"CRC32": "AAAAAA==-3"}
