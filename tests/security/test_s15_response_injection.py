"""S15: whatever is stored, or asked for in a URL, an answer has the headers that we chose."""

import random
import xml.etree.ElementTree as ET
from typing import Final
from urllib.parse import quote

from tests.security.inputs import Inputs

from fileflux.core.model import ObjectMeta
from fileflux.ingest import rfc2047
from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.conditions import Validators
from fileflux.ingest.hoisted_headers import with_hoisted_headers
from fileflux.ingest.object_headers import object_headers, response_overrides, stored_headers
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request
from fileflux.ingest.s3_errors import RequestNames, S3Error, render
from fileflux.ingest.s3_xml import DeletedKey, DeleteFailure, delete_result

CURRENT: Final = Validators("d41d8cd98f00b204e9800998ecf8427e", 1_700_000_000_000_000)
PIECES: Final = (
    *("a", "\r\n", "\n", "\r", "\x00", "\x0b", "\x7f", "\x85", "\u2028", "\t", " ", ":", ";", "=?"),
    *("?=", "=?UTF-8?Q?=0D=0A?=", "=?UTF-8?B?DQo=?=", "=0D=0A", "%0D%0A", "%250a", "é", "🙂", "<"),
    *("</Key>", "]]>", "<script>", "&", "&#13;", '"', "'", "\\", "X-Evil: 1", "Set-Cookie: a=b"),
)
STORED_NAMES: Final = ("content-type", "content-disposition", "x-amz-meta-a", "cache-control")


def hostile(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randrange(1, 8)))


def assert_whole(headers: dict[str, str]) -> None:
    """No header ends early: one line each, in octets that HTTP allows."""
    for name, value in headers.items():
        octets = value.encode("latin-1")
        assert not any((octet < 0x20 and octet != 0x09) or octet == 0x7F for octet in octets), name
        assert name.isascii()
        assert name == name.lower()


def test_stored_headers_come_back_as_one_line_each(inputs: Inputs) -> None:
    for _ in inputs.rounds(0.03):
        name = inputs.rng.choice(STORED_NAMES)
        value = hostile(inputs.rng).encode().decode("latin-1")
        try:
            meta = stored_headers({name: value})
        except S3Error as refusal:
            assert refusal.code == "InvalidArgument"  # noqa: PT017 - one of two good ends
        else:
            assert_whole(object_headers(meta, CURRENT))


def test_metadata_from_anywhere_leaves_as_one_line(inputs: Inputs) -> None:
    """A row may be older than the check that would refuse it today."""
    for _ in inputs.rounds(0.03):
        meta = ObjectMeta(
            user={"a": rfc2047.decode(hostile(inputs.rng)) or "a", "b": hostile(inputs.rng)}
        )

        headers = object_headers(meta, CURRENT)

        assert_whole(headers)
        assert set(headers) >= {"x-amz-meta-a", "x-amz-meta-b"}


def requested(query: str) -> ParsedRequest:
    return parse_request(RawRequest("GET", b"/bucket/key", query.encode(), []))


def test_a_url_chooses_the_value_of_a_header_and_no_more(inputs: Inputs) -> None:
    for _ in inputs.rounds(0.03):
        value = hostile(inputs.rng)
        name = inputs.rng.choice(("response-content-type", "response-expires", "x-amz-meta-a"))
        try:
            request = with_hoisted_headers(requested(f"{name}={quote(value, safe='')}"))
            headers = object_headers(
                stored_headers(request.headers), CURRENT, overrides=response_overrides(request)
            )
        except (S3Error, S3RequestError) as refusal:
            assert refusal.status == 400  # noqa: PT017 - one of two good ends
        else:
            assert_whole(headers)
            assert set(headers) - {"content-security-policy", "x-amz-meta-a", "expires"} == {
                *("accept-ranges", "content-type", "etag", "last-modified"),
                "x-content-type-options",
            }


def test_an_echoed_key_stays_inside_its_element(inputs: Inputs) -> None:
    for _ in inputs.rounds(0.03):
        text = hostile(inputs.rng)
        names = RequestNames(
            method="GET", request_id="R", host_id="H", bucket=text, key=text.encode()
        )
        answer = render(S3Error("NoSuchKey", extra={"Detail": text}), names)
        deleted = delete_result([DeletedKey(text.encode())], [DeleteFailure(b"k", "A", text)])

        error = ET.fromstring(answer.body)  # noqa: S314 - our own document
        assert [each.tag for each in error] == [
            *("Code", "Message", "Detail", "Key", "Resource", "RequestId", "HostId")
        ]
        assert len(list(ET.fromstring(deleted).iter())) == 7  # noqa: S314 - our own document
        assert_whole(dict(answer.headers))


def test_a_stored_page_never_runs_in_our_name() -> None:
    for kind in (
        "text/html",
        "application/xhtml+xml",
        "image/svg+xml",
        "TEXT/HTML;a",
        "text/xsl+xml",
    ):
        headers = object_headers(ObjectMeta(headers={"content-type": kind}), CURRENT)

        assert headers["content-security-policy"] == "sandbox"
        assert headers["x-content-type-options"] == "nosniff"
