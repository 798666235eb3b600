"""Documents are read strictly and written so that any parser reads what was meant."""

import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.changes import CompletedPart
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.s3_xml import (
    DeletedKey,
    DeleteFailure,
    KeyToDelete,
    ListedBucket,
    complete_multipart_result,
    copy_object_result,
    copy_part_result,
    create_multipart_result,
    delete_result,
    list_buckets_result,
    location_result,
    parse_complete,
    parse_create_bucket,
    parse_delete,
    versioning_result,
)

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
AT_US = 1_700_000_000_123_456
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=30
)


def tree(body: bytes) -> ET.Element:
    return ET.fromstring(body)  # noqa: S314 - our own document


def text_of(body: bytes, path: str) -> str | None:
    return tree(body).findtext("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))


def refusal_of(body: bytes) -> S3Error:
    with pytest.raises(S3Error) as refusal:
        parse_complete(body) if b"Complete" in body else parse_delete(body)
    return refusal.value


def complete(*parts: str, xmlns: str = f' xmlns="{NAMESPACE}"') -> bytes:
    inside = "".join(f"<Part>{part}</Part>" for part in parts)
    return f"<CompleteMultipartUpload{xmlns}>{inside}</CompleteMultipartUpload>".encode()


def part(number: object, etag: str = "a") -> str:
    return f"<PartNumber>{number}</PartNumber><ETag>{etag}</ETag>"


@pytest.mark.parametrize("xmlns", ["", f' xmlns="{NAMESPACE}"'])
def test_parts_are_read_with_and_without_the_namespace(xmlns: str) -> None:
    body = complete(part(1, "&quot;a&quot;"), part(3, '"b"'), part(10_000, "c"), xmlns=xmlns)

    assert parse_complete(body) == (
        CompletedPart(1, "a"),
        CompletedPart(3, "b"),
        CompletedPart(10_000, "c"),
    )


def test_a_namespace_may_have_a_prefix() -> None:
    body = f'<s:Delete xmlns:s="{NAMESPACE}"><s:Object><s:Key>a</s:Key></s:Object></s:Delete>'

    assert parse_delete(body.encode()).keys == (KeyToDelete(b"a"),)


def test_blanks_between_elements_mean_nothing() -> None:
    body = b"""<?xml version="1.0" encoding="UTF-8"?>
    <CompleteMultipartUpload>
      <Part>
        <ETag>
          "a"
        </ETag>
        <PartNumber> 1 </PartNumber>
      </Part>
    </CompleteMultipartUpload>"""

    assert parse_complete(body) == (CompletedPart(1, "a"),)


def test_a_part_s_checksums_are_read() -> None:
    body = complete(
        part(1) + "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C><ChecksumSHA1>x</ChecksumSHA1>"
    )

    assert parse_complete(body)[0].checksums == {"CRC32C": "AAAAAA==", "SHA1": "x"}


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (1, 3, 2)])
def test_parts_must_ascend(numbers: tuple[int, ...]) -> None:
    refusal = refusal_of(complete(*(part(number) for number in numbers)))

    assert (refusal.code, refusal.status) == ("InvalidPartOrder", 400)


@pytest.mark.parametrize("number", ["0", "10001", "999999999"])
def test_a_part_number_that_cannot_be_is_invalid(number: str) -> None:
    assert refusal_of(complete(part(number))).code == "InvalidArgument"


@pytest.mark.parametrize(
    "body",
    [
        complete(),
        complete("<PartNumber>1</PartNumber>"),
        complete("<ETag>a</ETag>"),
        complete(part("one")),
        complete(part("-1")),
        complete(part("+1")),
        complete(part("1.0")),
        complete(part("\uff11")),
        complete(part("1" * 5000)),
        complete(part(1) + "<ETag>b</ETag>"),
        complete(part(1) + "<PartNumber>2</PartNumber>"),
        complete(part(1) + "<Evil>x</Evil>"),
        complete(part(1) + "stray"),
        complete(part("<b>1</b>")),
        complete(part(1), xmlns=' xmlns="http://example.org/"'),
        complete(part(1), xmlns=' class="x"'),
        b"<CompleteMultipartUpload>",
        b"CompleteMultipartUpload",
        b"<Other><CompleteMultipartUpload/></Other>",
        complete(part(1)) + complete(part(1)),
        complete(part(1, "x" * 20_000)),
        complete(part(1, "&nosuch;")),
        complete(part(1, "\x00")),
        b"\xff" + complete(part(1)),
    ],
)
def test_anything_else_is_malformed(body: bytes) -> None:
    refusal = refusal_of(body)

    assert (refusal.code, refusal.status) == ("MalformedXML", 400)


def test_ten_thousand_parts_are_enough() -> None:
    assert len(parse_complete(complete(*map(part, range(1, 10_001))))) == 10_000
    assert refusal_of(complete(*map(part, range(1, 10_002)))).code == "MalformedXML"


def test_a_checksum_that_we_do_not_know_is_refused_by_name() -> None:
    refusal = refusal_of(complete(part(1) + "<ChecksumXXHASH64>x</ChecksumXXHASH64>"))

    assert refusal.code == "NotImplemented"
    assert "ChecksumXXHASH64" in refusal.message


@pytest.mark.parametrize("parse", [parse_delete, parse_complete])
def test_a_document_that_is_not_there_is_missing(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(S3Error, match="MissingRequestBodyError"):
        parse(b"")


def test_a_document_beyond_its_limit_is_not_read() -> None:
    with pytest.raises(S3Error, match="MaxMessageLengthExceeded"):
        parse_delete(b"<Delete>" + b" " * 100, size_max=50)


@given(keys=st.lists(XML_TEXT.filter(bool), min_size=1, max_size=20), quiet=st.booleans())
def test_keys_to_delete_arrive_exactly(keys: list[str], quiet: bool) -> None:
    objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    body = f"<Delete>{objects}<Quiet>{str(quiet).lower()}</Quiet></Delete>".encode()

    request = parse_delete(body)

    assert [each.key for each in request.keys] == [key.encode() for key in keys]
    assert request.quiet is quiet


def test_a_key_s_line_ends_arrive_when_they_are_written_as_references() -> None:
    body = b"<Delete><Object><Key>a&#13;&#10;b </Key></Object></Delete>"

    assert parse_delete(body).keys[0].key == b"a\r\nb "


def test_a_deletion_may_name_a_version_and_an_etag() -> None:
    body = (
        b"<Delete><Object><Key>a</Key><VersionId>null</VersionId><ETag>&quot;e&quot;</ETag></Object>"
        b"</Delete>"
    )

    assert parse_delete(body).keys == (KeyToDelete(b"a", "null", "e"),)


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "<Object/>",
        "<Object><Key>a</Key><Key>b</Key></Object>",
        "<Quiet>true</Quiet>",
        "<Object><Key>a</Key></Object><Quiet>perhaps</Quiet>",
        "<Object><Key>a</Key></Object><Quiet>true</Quiet><Quiet>false</Quiet>",
        "<Object><Key>a<b/></Key></Object>",
        "<Object><Key>a</Key></Object>" * 1001,
    ],
)
def test_a_deletion_that_is_not_clear_deletes_nothing(inside: str) -> None:
    assert refusal_of(f"<Delete>{inside}</Delete>".encode()).code == "MalformedXML"


def test_an_empty_key_is_no_key() -> None:
    body = b"<Delete><Object><Key/></Object></Delete>"

    assert refusal_of(body).code == "UserKeyMustBeSpecified"


@pytest.mark.parametrize("name", ["Size", "LastModifiedTime"])
def test_a_condition_that_we_cannot_check_is_not_passed_over(name: str) -> None:
    body = f"<Delete><Object><Key>a</Key><{name}>1</{name}></Object></Delete>"

    assert refusal_of(body.encode()).code == "NotImplemented"


def test_a_thousand_keys_are_deleted_at_once() -> None:
    body = b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1000 + b"</Delete>"

    assert len(parse_delete(body).keys) == 1000


def test_a_bucket_s_location_is_read() -> None:
    inside = "<LocationConstraint>eu-west-1</LocationConstraint>"
    body = f'<CreateBucketConfiguration xmlns="{NAMESPACE}">{inside}</CreateBucketConfiguration>'

    assert parse_create_bucket(body.encode()) == "eu-west-1"
    assert parse_create_bucket(b"") is None
    assert parse_create_bucket(b"<CreateBucketConfiguration/>") is None


@pytest.mark.parametrize("name", ["Tags", "Location", "Bucket"])
def test_a_bucket_that_we_cannot_make_is_not_made(name: str) -> None:
    body = f"<CreateBucketConfiguration><{name}/></CreateBucketConfiguration>"

    with pytest.raises(S3Error, match="NotImplemented"):
        parse_create_bucket(body.encode())


def test_a_copy_s_result_has_tag_time_and_checksums() -> None:
    body = copy_object_result("e", AT_US, checksums={"CRC32": "x"}, checksum_type="FULL_OBJECT")

    assert text_of(body, "ETag") == '"e"'
    assert text_of(body, "LastModified") == "2023-11-14T22:13:20.000Z"
    assert text_of(body, "ChecksumCRC32") == "x"
    assert text_of(body, "ChecksumType") == "FULL_OBJECT"
    assert text_of(copy_part_result("e", AT_US, checksums={}), "ChecksumType") is None


def test_the_life_of_a_multipart_upload_is_answered() -> None:
    started = create_multipart_result("b", "ä<".encode(), "0123")
    ended = complete_multipart_result("b", b"k", "e-2", location="http://h/b/k", checksums={})

    assert text_of(started, "Key") == "ä<"
    assert text_of(started, "UploadId") == "0123"
    assert text_of(ended, "ETag") == '"e-2"'
    assert text_of(ended, "Location") == "http://h/b/k"


def test_the_first_region_is_the_one_without_a_name() -> None:
    assert tree(location_result("us-east-1")).text is None
    assert tree(location_result("eu-west-1")).text == "eu-west-1"


def test_versioning_was_never_switched_on() -> None:
    assert list(tree(versioning_result())) == []


def test_buckets_are_listed_with_their_owner() -> None:
    body = list_buckets_result([ListedBucket("b", AT_US)], owner_id="1", owner_name="<a>")

    assert text_of(body, "Owner/DisplayName") == "<a>"
    assert text_of(body, "Buckets/Bucket/Name") == "b"
    assert text_of(body, "Buckets/Bucket/BucketRegion") is None


@given(key=st.binary(min_size=1, max_size=30), message=st.text(max_size=20))
def test_no_key_breaks_a_result(key: bytes, message: str) -> None:
    body = delete_result([DeletedKey(key)], [DeleteFailure(key, "AccessDenied", message)])
    root = tree(body)

    assert len(root) == 2
    assert root[0][0].text == root[1][0].text


@given(XML_TEXT | st.text(st.sampled_from("\r\n\t<&>\"']"), max_size=10))
def test_a_key_that_xml_can_hold_is_read_back_exactly(key: str) -> None:
    body = create_multipart_result("b", key.encode(), "0")

    assert (text_of(body, "Key") or "") == key
