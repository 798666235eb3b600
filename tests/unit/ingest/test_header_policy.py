"""A wish that would not come true is refused by its name."""

from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.ingest.header_policy import (
    HARMLESS_VALUES,
    UNDERSTOOD,
    refuse_unimplemented,
    replaces_metadata,
)
from fileflux.ingest.hoisted_headers import with_hoisted_headers
from fileflux.ingest.operations import OPERATIONS
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request
from fileflux.ingest.s3_errors import S3Error

MODEL: Any = botocore.session.get_session().get_service_model("s3")
REFUSED = {
    "x-amz-bucket-namespace",
    "x-amz-bypass-governance-retention",
    "x-amz-expected-bucket-owner",
    "x-amz-if-match-initiated-time",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-mfa",
    "x-amz-object-annotation-directive",
    "x-amz-source-expected-bucket-owner",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
}
REFUSED_KINDS = (
    "x-amz-checksum-md5",
    "x-amz-checksum-sha512",
    "x-amz-checksum-xxhash",
    "x-amz-copy-source-server-side-encryption-",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
)


def sent_headers() -> set[str]:
    """Every `x-amz-` header that an SDK can send with an operation that we have."""
    names = set()
    for operation in OPERATIONS:
        if operation.is_implemented and MODEL.operation_model(operation.name).input_shape:
            members = MODEL.operation_model(operation.name).input_shape.members.values()
            names |= {
                each.serialization["name"].lower()
                for each in members
                if each.serialization.get("location") == "header"
            }
    return {name for name in names if name.startswith("x-amz-")}


def test_every_header_that_an_sdk_can_send_is_understood_or_refused_on_purpose() -> None:
    refused = {name for name in sent_headers() if name in REFUSED or name.startswith(REFUSED_KINDS)}

    assert sent_headers() - refused <= UNDERSTOOD
    assert refused.isdisjoint(UNDERSTOOD)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-acl": "private"},
        {"x-amz-acl": "bucket-owner-full-control", "x-amz-storage-class": "STANDARD"},
        {"x-amz-meta-anything": "x", "x-amz-date": "x", "x-amz-content-sha256": "x"},
        {"x-amz-tagging": "", "x-amz-bucket-object-lock-enabled": "false"},
        {"content-type": "x", "x-amzn-trace-id": "x", "x-forwarded-for": "x"},
    ],
)
def test_what_is_the_case_anyway_may_be_asked_for(headers: dict[str, str]) -> None:
    refuse_unimplemented(headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-acl", "public-read"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption-customer-key", "x"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-website-redirect-location", "/"),
        ("x-amz-write-offset-bytes", "5"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-bucket-object-lock-enabled", "true"),
        ("x-amz-expected-bucket-owner", "1"),
        ("x-amz-from-the-future", "1"),
        ("x-amz-checksum-xxhash64", "x"),
    ],
)
def test_what_would_not_come_true_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(S3Error) as refusal:
        refuse_unimplemented({name: value})

    assert (refusal.value.code, refusal.value.status) == ("NotImplemented", 501)
    assert refusal.value.extra == {"Header": name}


def test_a_storage_class_that_s3_does_not_know_is_not_valid() -> None:
    with pytest.raises(S3Error, match="InvalidStorageClass"):
        refuse_unimplemented({"x-amz-storage-class": "CHEAP"})


@given(st.dictionaries(st.sampled_from(sorted(UNDERSTOOD)), st.text(max_size=20)))
def test_no_value_of_a_header_does_more_than_be_refused(headers: dict[str, str]) -> None:
    try:
        refuse_unimplemented(headers)
    except S3Error as refusal:
        code = refusal.code
    else:
        code = "NotImplemented"
    assert code in ("NotImplemented", "InvalidStorageClass")


def test_only_headers_that_are_understood_have_harmless_values() -> None:
    assert set(HARMLESS_VALUES) <= UNDERSTOOD


def test_a_copy_keeps_the_source_s_metadata_unless_told() -> None:
    assert not replaces_metadata({})
    assert not replaces_metadata({"x-amz-metadata-directive": "COPY"})
    assert replaces_metadata({"x-amz-metadata-directive": "REPLACE"})
    with pytest.raises(S3Error, match="InvalidArgument"):
        replaces_metadata({"x-amz-metadata-directive": "MERGE"})


def presigned(query: str, **headers: str) -> ParsedRequest:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return parse_request(RawRequest("PUT", b"/b/k", query.encode(), pairs))


def test_headers_in_a_presigned_url_are_headers() -> None:
    request = presigned(
        "x-amz-meta-A=%C3%84&X-Amz-Signature=s&X-Amz-Date=d&x-id=PutObject", host="h"
    )

    headers = with_hoisted_headers(request).headers

    assert headers == {"host": "h", "x-amz-meta-a": "Ä".encode().decode("latin-1")}


def test_a_wish_in_a_presigned_url_is_not_passed_over() -> None:
    request = presigned("x-amz-server-side-encryption=AES256")

    with pytest.raises(S3Error, match="NotImplemented"):
        refuse_unimplemented(with_hoisted_headers(request).headers)


@pytest.mark.parametrize("query", ["x-amz-acl=private", "x-amz-acl=public-read&X-Amz-Acl=private"])
def test_a_url_and_its_user_may_not_contradict_each_other(query: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        with_hoisted_headers(presigned(query, x_amz_acl="public-read"))


@pytest.mark.parametrize("value", ["a%0D%0Ab", "%00", "%7F"])
def test_a_header_in_a_url_cannot_end_early(value: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        with_hoisted_headers(presigned(f"x-amz-meta-a={value}"))
