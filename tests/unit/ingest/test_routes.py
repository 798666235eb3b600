"""A request is taken for the operation that S3 would take it for, or refused: never for another."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.operations import BY_NAME, OPERATIONS, Level, Operation
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request
from fileflux.ingest.routes import READS, SUBRESOURCES, check_implemented, route
from fileflux.ingest.s3_errors import S3Error

OLD_NAMES = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
}
"""Operations of botocore that another one replaced on the same route."""
BOTOCORE_MODEL: Any = botocore.session.get_session().get_service_model("s3")


def parsed(
    method: str, path: str, query: str = "", headers: Mapping[str, str] | None = None
) -> ParsedRequest:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return parse_request(RawRequest(method, path.encode(), query.encode(), pairs))


def routed(method: str, path: str, query: str = "", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return route(parsed(method, path, query, named)).name


def refused(method: str, path: str, query: str = "") -> S3Error:
    with pytest.raises(S3Error) as refusal:
        route(parsed(method, path, query))
    return refusal.value


@pytest.mark.parametrize("name", sorted(BOTOCORE_MODEL.operation_names))
def test_every_operation_that_an_sdk_can_send_is_routed_to_its_name(name: str) -> None:
    model = BOTOCORE_MODEL.operation_model(name)
    path, _, query = model.http["requestUri"].partition("?")
    path = path.replace("{Bucket}", "bucket").replace("{Key+}", "key")
    members = model.input_shape.members if model.input_shape else {}
    required = model.input_shape.required_members if model.input_shape else []
    places = [members[m].serialization for m in required]
    params = [(p["name"], "1") for p in places if p.get("location") == "querystring"]
    headers = {p["name"]: "1" for p in places if p.get("location") == "header"}
    query = "&".join(filter(None, (query, urlencode(params))))

    found = route(parsed(model.http["method"], path, query, headers))

    assert found.name == OLD_NAMES.get(name, name)


def test_the_table_has_every_operation_of_botocore() -> None:
    known = {OLD_NAMES.get(name, name) for name in BOTOCORE_MODEL.operation_names}

    assert known <= set(BY_NAME)
    assert set(BY_NAME) - known == {
        "OptionsBucket",
        "OptionsObject",
        "OptionsService",
        "PostObject",
    }


def test_no_two_operations_ask_the_same_way() -> None:
    ways = {(each.method, each.level, each.selectors, each.header) for each in OPERATIONS}

    assert len(ways) == len(OPERATIONS) == len(BY_NAME)


def test_what_is_implemented_needs_a_right_and_what_is_not_has_none_to_give() -> None:
    assert {each.name for each in OPERATIONS if each.action} == {
        each.name for each in OPERATIONS if each.is_implemented
    }
    assert all(each.action.startswith("s3:") for each in OPERATIONS if each.action)
    assert all(bool(each.header) == bool(each.source_action) for each in OPERATIONS if each.action)


@pytest.mark.parametrize(
    ("method", "path", "query", "name"),
    [
        ("GET", "/", "", "ListBuckets"),
        ("GET", "/", "x-id=ListBuckets&max-buckets=5&prefix=a", "ListBuckets"),
        ("PUT", "/bucket", "", "CreateBucket"),
        ("PUT", "/bucket/", "", "CreateBucket"),
        ("HEAD", "/bucket", "", "HeadBucket"),
        ("DELETE", "/bucket", "", "DeleteBucket"),
        ("GET", "/bucket", "", "ListObjects"),
        ("GET", "/bucket", "prefix=a&delimiter=%2F&marker=b&encoding-type=url", "ListObjects"),
        ("GET", "/bucket", "prefix=&delimiter=", "ListObjects"),
        ("GET", "/bucket", "list-type=2&prefix=a&start-after=b&fetch-owner=true", "ListObjectsV2"),
        ("GET", "/bucket", "location=", "GetBucketLocation"),
        ("GET", "/bucket", "versioning", "GetBucketVersioning"),
        ("GET", "/bucket", "uploads&key-marker=a", "ListMultipartUploads"),
        ("POST", "/bucket", "delete=", "DeleteObjects"),
        ("PUT", "/bucket/a/b", "", "PutObject"),
        ("PUT", "/bucket/key", "x-id=PutObject", "PutObject"),
        ("GET", "/bucket/key", "versionId=null&response-content-type=a", "GetObject"),
        ("GET", "/bucket/key", "partNumber=2", "GetObject"),
        ("GET", "/bucket/key", "cache-buster=17", "GetObject"),
        ("HEAD", "/bucket/key", "partNumber=2", "HeadObject"),
        ("DELETE", "/bucket/key", "versionId=null", "DeleteObject"),
        ("GET", "/bucket/key", "attributes", "GetObjectAttributes"),
        ("POST", "/bucket/key", "uploads", "CreateMultipartUpload"),
        ("PUT", "/bucket/key", "uploadId=a&partNumber=1", "UploadPart"),
        ("POST", "/bucket/key", "uploadId=a", "CompleteMultipartUpload"),
        ("DELETE", "/bucket/key", "uploadId=a", "AbortMultipartUpload"),
        ("GET", "/bucket/key", "uploadId=a&max-parts=2&part-number-marker=1", "ListParts"),
        ("GET", "/bucket", "inventory", "ListBucketInventoryConfigurations"),
        ("GET", "/bucket", "inventory&id=1", "GetBucketInventoryConfiguration"),
        ("OPTIONS", "/bucket/key", "uploadId=a&acl", "OptionsObject"),
        ("POST", "/bucket", "", "PostObject"),
        ("PUT", "/bucket/key", "X-Amz-Signature=a&x-amz-meta-a=b&x-amz-acl=", "PutObject"),
    ],
)
def test_a_request_means_what_it_means_in_s3(method: str, path: str, query: str, name: str) -> None:
    assert routed(method, path, query) == name


def test_a_copy_is_told_by_its_header() -> None:
    assert routed("PUT", "/b/k", x_amz_copy_source="/a/b") == "CopyObject"
    assert routed("PUT", "/b/k", "partNumber=1&uploadId=2", x_amz_copy_source="/a/b") == (
        "UploadPartCopy"
    )
    assert routed("GET", "/b/k", x_amz_copy_source="/a/b") == "GetObject"


@pytest.mark.parametrize("query", ["tagging", "acl", "legal-hold=", "retention&versionId=1"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_operation_that_we_lack_is_refused_by_its_name(method: str, query: str) -> None:
    operation = route(parsed(method, "/bucket/key", query))

    with pytest.raises(S3Error) as refusal:
        check_implemented(operation)

    assert refusal.value.code == "NotImplemented"
    assert refusal.value.extra == {"Operation": operation.name}
    assert operation.name in refusal.value.message


def test_deleting_a_tag_never_deletes_the_object() -> None:
    assert routed("DELETE", "/bucket/key", "tagging") == "DeleteObjectTagging"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/bucket", "/bucket/key"])
def test_a_subresource_from_the_future_is_not_passed_over(method: str, path: str) -> None:
    refusal = refused(method, path, "hologram")

    assert (refusal.code, refusal.status) == ("NotImplemented", 501)
    assert "hologram" in refusal.message


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_has_no_parameter_that_we_do_not_know(method: str) -> None:
    assert refused(method, "/bucket/key", "append=5").code == "NotImplemented"


@pytest.mark.parametrize("query", ["partNumber=1", "versionId=null", "partNumber=1&x-id=PutObject"])
def test_half_of_an_upload_part_does_not_overwrite_the_object(query: str) -> None:
    assert refused("PUT", "/bucket/key", query).code == "NotImplemented"


def test_an_upload_part_without_its_number_says_what_is_missing() -> None:
    refusal = refused("PUT", "/bucket/key", "uploadId=a")

    assert (refusal.code, refusal.extra["ArgumentName"]) == ("InvalidArgument", "partNumber")


def test_two_subresources_contradict_each_other() -> None:
    refusal = refused("GET", "/bucket", "versioning&acl")

    assert (refusal.code, refusal.status) == ("InvalidArgument", 400)
    assert refusal.message == "Conflicting query string parameters: acl, versioning"


def test_a_method_that_s3_lacks_for_a_subresource_is_not_allowed() -> None:
    refusal = refused("DELETE", "/bucket", "versioning")

    assert (refusal.code, refusal.status) == ("MethodNotAllowed", 405)
    assert refusal.headers == {"Allow": "GET, PUT"}
    assert refusal.extra == {"Method": "DELETE", "ResourceType": "VERSIONING"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/"),
        ("POST", "/"),
        ("HEAD", "/"),
        ("DELETE", "/"),
        ("PATCH", "/bucket"),
        ("POST", "/bucket/key"),
        ("put", "/bucket/key"),
        ("TRACE", "/bucket/key"),
    ],
)
def test_a_method_that_means_nothing_here_is_not_allowed(method: str, path: str) -> None:
    assert refused(method, path).code == "MethodNotAllowed"


def test_a_bucket_s_subresource_is_none_of_a_key_s() -> None:
    refusal = refused("GET", "/bucket/key", "versions")

    assert (refusal.code, refusal.status) == ("InvalidRequest", 400)
    assert refusal.message == "There is no such thing as the ?versions sub-resource for a key"


def test_a_list_type_that_does_not_exist_is_refused() -> None:
    assert refused("GET", "/bucket", "list-type=3").code == "InvalidArgument"
    assert refused("GET", "/bucket", "list-type").code == "InvalidArgument"


def test_a_key_without_a_bucket_is_no_address() -> None:
    assert refused("GET", "//key").code == "InvalidURI"


def test_virtual_host_style_and_path_style_are_one() -> None:
    host = {"host": "bucket.s3.example.org:9000"}
    pairs = [(name.encode(), value.encode()) for name, value in host.items()]
    raw = RawRequest("GET", b"/a/key", b"uploadId=1", pairs)

    assert route(parse_request(raw, domains=("s3.example.org",))) is BY_NAME["ListParts"]
    assert route(parse_request(raw)) is BY_NAME["ListParts"]
    assert parse_request(raw, domains=("s3.example.org",)).key == b"a/key"


NAMES = st.one_of(st.sampled_from(sorted(SUBRESOURCES)), st.text(max_size=8))
QUERIES = st.lists(st.tuples(NAMES, st.sampled_from(["", "1", "2", "null"])), max_size=4)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", ""])
PATHS = st.sampled_from(["/", "/bucket", "/bucket/key", "//key", "/bucket//"])
HEADERS = st.sampled_from([{}, {"x-amz-copy-source": "/a/b"}, {"x-amz-request-route": "1"}])


def _try_route(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str]
) -> Operation | None:
    text = "&".join(f"{quote(name, safe='')}={quote(value)}" for name, value in query)
    try:
        return route(parsed(method, path, text, headers))
    except (S3Error, S3RequestError):
        return None


@given(method=METHODS, path=PATHS, query=QUERIES, headers=HEADERS)
def test_every_request_is_an_operation_or_a_clean_refusal(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    found = _try_route(method, path, query, headers)

    if found is not None:
        assert found.method == method
        assert (found.level is Level.OBJECT) == (path.count("/") > 1)


@given(method=METHODS, path=PATHS, query=QUERIES, headers=HEADERS)
def test_an_implemented_operation_was_asked_for_by_all_that_the_query_says(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    """No sub-resource, known or not, may be missing from what is done."""
    found = _try_route(method, path, query, headers)

    if found is not None and found.is_implemented:
        names = {name for name, _ in query if name}
        assert names & SUBRESOURCES <= set(found.selectors)
        if method not in READS:
            assert names <= {*found.selectors, "x-id", "versionId"} | {
                name for name in names if name.lower().startswith("x-amz-")
            }
