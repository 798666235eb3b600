"""A listing names every key so that its reader gets it back, and pages so that none is lost."""

import xml.etree.ElementTree as ET
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.ids import BucketId, UploadId, UserId
from fileflux.core.model import Manifest, ObjectMeta
from fileflux.ingest.listing import (
    PartsQuery,
    decode_token,
    list_query_v1,
    list_query_v2,
    uploads_query,
)
from fileflux.ingest.object_attributes import attributes_query, attributes_result
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.s3_listings import (
    list_objects_result,
    list_parts_result,
    list_uploads_result,
)
from fileflux.metadata.ports import ListedKeys
from fileflux.metadata.rows import ObjectRow, PartRow, UploadRow

AT_US = 1_700_000_000_000_000
BUCKET = BucketId(bytes(16))
OWNER = UserId(bytes(16))
CHECKSUMMED = ObjectMeta(checksums={"CRC32": "AAAAAA=="}, checksum_type="COMPOSITE")


def get(query: str) -> ParsedRequest:
    return parse_request(RawRequest("GET", b"/bucket", query.encode(), []))


def object_row(key: bytes, manifest: Manifest | None = None) -> ObjectRow:
    return ObjectRow(
        bucket_id=BUCKET,
        key=key,
        version_id=UploadId(bytes(16)),
        stamp=AT_US,
        row_stamp=AT_US,
        size=5,
        etag="abc",
        meta=CHECKSUMMED,
        manifest=manifest or Manifest(),
        content_id=UploadId(bytes(16)),
        storage_class="SINGLE",
    )


def upload_row(key: bytes, number: int = 1) -> UploadRow:
    return UploadRow(
        upload_id=UploadId(number.to_bytes(16, "big")),
        bucket_id=BUCKET,
        key=key,
        meta=ObjectMeta(),
        storage_class="STANDARD",
        checksum_algorithm="CRC32",
        checksum_type="COMPOSITE",
        created_us=AT_US,
        state="open",
        owner_id=OWNER,
        row_stamp=AT_US,
    )


def part_row(number: int) -> PartRow:
    return PartRow(
        upload_id=UploadId(bytes(16)),
        part_number=number,
        size=5,
        etag="abc",
        meta=CHECKSUMMED,
        manifest=Manifest(),
        content_id=UploadId(bytes(16)),
        modified_us=AT_US,
        row_stamp=AT_US,
    )


def plain(body: bytes) -> ET.Element:
    """The document without its namespace, for short paths."""
    root = ET.fromstring(body)  # noqa: S314 - our own document
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def listed(query: str, page: ListedKeys) -> ET.Element:
    request = get(query)
    asked = list_query_v2(request) if "list-type" in query else list_query_v1(request)
    return plain(list_objects_result("bucket", asked, page, owner_id="1", owner_name="me"))


def keys_page(
    *keys: bytes, prefixes: tuple[bytes, ...] = (), truncated: bool = False
) -> ListedKeys:
    last = max((*keys, *prefixes), default=None)
    return ListedKeys(tuple(map(object_row, keys)), prefixes, truncated, last)


def test_version_1_has_markers_and_owners() -> None:
    root = listed(
        "marker=a&delimiter=/&max-keys=2", keys_page(b"b", prefixes=(b"c/",), truncated=True)
    )

    found = {element.tag: element.text for element in root}
    assert found["Name"] == "bucket"
    assert found["Prefix"] is None
    assert (found["Marker"], found["NextMarker"]) == ("a", "c/")
    assert (found["Delimiter"], found["MaxKeys"], found["IsTruncated"]) == ("/", "2", "true")
    assert "KeyCount" not in found
    assert root.findtext("Contents/Owner/DisplayName") == "me"
    assert root.findtext("CommonPrefixes/Prefix") == "c/"


def test_version_2_has_tokens_and_counts() -> None:
    root = listed("list-type=2&start-after=a&prefix=b", keys_page(b"b", b"ba", truncated=True))

    assert root.findtext("KeyCount") == "2"
    assert root.findtext("StartAfter") == "a"
    assert decode_token(root.findtext("NextContinuationToken") or "") == b"ba"
    assert root.find("Contents/Owner") is None
    assert root.find("Marker") is None
    assert (
        listed("list-type=2&fetch-owner=true", keys_page(b"b")).find("Contents/Owner") is not None
    )


def test_an_entry_says_what_a_head_would() -> None:
    entry = listed("", keys_page(b"b"))[-1]

    assert {element.tag: element.text for element in entry if element.tag != "Owner"} == {
        "Key": "b",
        "LastModified": "2023-11-14T22:13:20.000Z",
        "ETag": '"abc"',
        "ChecksumAlgorithm": "CRC32",
        "ChecksumType": "COMPOSITE",
        "Size": "5",
        "StorageClass": "STANDARD",
    }


def test_a_page_of_no_keys_is_the_last_one() -> None:
    root = listed("max-keys=0", ListedKeys((), (), True, None))

    assert root.findtext("IsTruncated") == "false"
    assert root.find("NextMarker") is None


def test_names_are_encoded_when_the_client_asks() -> None:
    page = keys_page("a b+ü/%".encode(), prefixes=(b"c d/",))
    root = listed("encoding-type=url&prefix=a%20&delimiter=%2F&marker=a%2B", page)

    assert root.findtext("EncodingType") == "url"
    assert root.findtext("Contents/Key") == "a%20b%2B%C3%BC/%25"
    assert root.findtext("CommonPrefixes/Prefix") == "c%20d/"
    assert root.findtext("Marker") == "a%2B"
    assert root.findtext("Prefix") == "a%20"


@pytest.mark.parametrize("key", [b"a\x00b", b"\x1b", "\ufffe".encode()])
def test_a_key_that_xml_cannot_hold_encodes_the_page_and_says_so(key: bytes) -> None:
    root = listed("", keys_page(b"a b", key))

    assert root.findtext("EncodingType") == "url"
    assert [unquote_to_bytes(e.text or "") for e in root.iter("Key")] == [b"a b", key]


KEYS = st.lists(st.text(min_size=1, max_size=12).map(lambda s: s.encode("utf-8", "replace")))


@given(keys=KEYS, prefixes=KEYS, is_asked=st.booleans(), version=st.sampled_from([1, 2]))
def test_every_key_of_a_page_can_be_read_back(
    keys: list[bytes], prefixes: list[bytes], is_asked: bool, version: int
) -> None:
    query = ("encoding-type=url&" if is_asked else "") + ("list-type=2" if version == 2 else "")
    root = listed(query, keys_page(*keys, prefixes=tuple(prefixes)))

    def read(text: str | None) -> bytes:
        is_encoded = root.findtext("EncodingType") == "url"
        return unquote_to_bytes(text or "") if is_encoded else (text or "").encode()

    assert [read(element.text) for element in root.iter("Key")] == keys
    assert [read(e.findtext("Prefix")) for e in root.iter("CommonPrefixes")] == prefixes


def uploads(query: str, *rows: UploadRow, prefixes: tuple[bytes, ...] = ()) -> ET.Element:
    return plain(
        list_uploads_result(
            "bucket",
            uploads_query(get(query)),
            uploads=rows,
            common_prefixes=prefixes,
            truncated=True,
            owner_name="me",
        )
    )


def test_uploads_go_on_behind_the_last_of_them() -> None:
    root = uploads("uploads&max-uploads=2", upload_row(b"a"), upload_row(b"b", 2))

    assert root.findtext("NextKeyMarker") == "b"
    assert root.findtext("NextUploadIdMarker") == f"{2:032x}"
    assert root.findtext("IsTruncated") == "true"
    assert [e.text for e in root.iter("UploadId")] == [f"{1:032x}", f"{2:032x}"]


def test_uploads_go_on_behind_a_common_prefix() -> None:
    root = uploads("uploads&delimiter=/", upload_row(b"a"), prefixes=(b"b/",))

    assert root.findtext("NextKeyMarker") == "b/"
    assert root.findtext("NextUploadIdMarker") == ""


def test_a_page_of_no_uploads_is_the_last_one() -> None:
    assert uploads("uploads&max-uploads=0").findtext("IsTruncated") == "false"


def test_parts_are_listed_with_their_checksums() -> None:
    body = list_parts_result(
        "bucket",
        upload_row(b"a"),
        PartsQuery(1, 2),
        parts=[part_row(2), part_row(5)],
        truncated=True,
        owner_name="me",
    )
    root = plain(body)

    assert [e.text for e in root.iter("PartNumber")] == ["2", "5"]
    assert root.findtext("Part/ChecksumCRC32") == "AAAAAA=="
    assert root.findtext("NextPartNumberMarker") == "5"
    assert root.findtext("ChecksumAlgorithm") == "CRC32"


def test_attributes_are_those_that_were_asked_for() -> None:
    row = object_row(b"a", Manifest(parts=((1, 3), (2, 2))))
    query = attributes_query(
        {"x-amz-object-attributes": "ETag, ObjectParts", "x-amz-max-parts": "1"}
    )
    root = plain(attributes_result(row, query))

    assert root.findtext("ETag") == "abc"
    assert root.findtext("ObjectParts/PartsCount") == "2"
    assert root.findtext("ObjectParts/IsTruncated") == "true"
    assert [e.text for e in root.iter("Size")] == ["3"]
    assert root.find("ObjectSize") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-object-attributes": "Colour"},
        {"x-amz-object-attributes": "ETag", "x-amz-max-parts": "-1"},
        {"x-amz-object-attributes": "ETag", "x-amz-part-number-marker": "9" * 5000},
    ],
)
def test_attributes_that_do_not_exist_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        attributes_query(headers)
