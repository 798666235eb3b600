"""Every failure becomes S3's answer, and nothing that a request holds breaks it."""

import random
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core import errors as core_errors
from fileflux.ingest import auth_errors
from fileflux.ingest.error_table import ERRORS
from fileflux.ingest.s3_errors import (
    RequestNames,
    S3Error,
    error_document,
    invalid_argument,
    new_request_id,
    outcome_error,
    render,
    s3_error,
)

NAMES = RequestNames(method="GET", request_id="R", host_id="H", bucket="bucket", key=b"a/key")
CORE = [
    each
    for each in vars(core_errors).values()
    if isinstance(each, type) and issubclass(each, core_errors.FileFluxError)
]
REQUEST = [
    each
    for each in vars(auth_errors).values()
    if isinstance(each, type) and issubclass(each, auth_errors.S3RequestError)
]


def fields(body: bytes) -> dict[str, str]:
    root = ET.fromstring(body)  # noqa: S314 - our own document
    assert root.tag == "Error"
    return {element.tag: element.text or "" for element in root}


def test_an_error_document_says_what_where_and_which_request() -> None:
    answer = render(core_errors.NoSuchKey("id 17"), NAMES)

    assert answer.status == 404
    assert dict(answer.headers) == {"content-type": "application/xml"}
    assert fields(answer.body) == {
        "Code": "NoSuchKey",
        "Message": "The specified key does not exist.",
        "Key": "a/key",
        "Resource": "/bucket/a/key",
        "RequestId": "R",
        "HostId": "H",
    }


def test_an_error_of_a_bucket_names_it() -> None:
    assert fields(render(S3Error("NoSuchBucket"), NAMES).body)["BucketName"] == "bucket"


def test_head_has_no_body() -> None:
    names = RequestNames(method="HEAD", request_id="R", host_id="H")

    assert render(S3Error("NoSuchKey"), names).body == b""
    assert render(S3Error("NoSuchKey"), names).status == 404


def test_what_nobody_foresaw_says_nothing_of_itself() -> None:
    answer = render(ValueError("secret"), NAMES)

    assert answer.status == 500
    assert fields(answer.body)["Code"] == "InternalError"
    assert b"secret" not in answer.body


def test_overload_says_when_to_come_back() -> None:
    answer = render(core_errors.SlowDown("full"), NAMES)

    assert answer.status == 503
    assert dict(answer.headers)["retry-after"] == "1"
    assert fields(answer.body)["Code"] == "SlowDown"


def test_a_wrong_password_is_asked_for_again() -> None:
    answer = render(auth_errors.PasswordRefused(), NAMES)

    assert answer.status == 401
    assert dict(answer.headers)["www-authenticate"].startswith("Basic ")


def test_an_error_carries_its_headers() -> None:
    error = S3Error("MethodNotAllowed", headers={"Allow": "GET"}, extra={"Method": "PUT"})

    assert ("allow", "GET") in render(error, NAMES).headers
    assert fields(render(error, NAMES).body)["Method"] == "PUT"


@pytest.mark.parametrize("kind", CORE)
def test_every_error_of_the_core_has_an_answer(kind: type[core_errors.FileFluxError]) -> None:
    if not issubclass(kind, auth_errors.S3RequestError):
        assert s3_error(kind("x")).code == kind.code
        assert kind.code in ERRORS
        assert s3_error(kind("x")).message != "x"


@pytest.mark.parametrize("kind", REQUEST)
def test_every_refusal_of_a_request_keeps_its_code_and_status(
    kind: type[auth_errors.S3RequestError],
) -> None:
    refusal = kind("why", {"Detail": "x"})
    known = s3_error(refusal)

    assert (known.code, known.status, known.message) == (refusal.code, refusal.status, "why")
    assert known.extra == {"Detail": "x"}
    if kind is not auth_errors.PasswordRefused:
        assert ERRORS[kind.code][0] == kind.status


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("NoSuchUpload", "NoSuchUpload"),
        ("PreconditionFailed", "PreconditionFailed"),
        ("Aborted", "SlowDown"),
        ("Expired", "SlowDown"),
        ("SourceChanged", "SlowDown"),
        ("Nonsense", "InternalError"),
    ],
)
def test_every_outcome_has_an_answer(status: str, code: str) -> None:
    assert outcome_error(status).code == code


def test_an_outcome_s_detail_is_its_message() -> None:
    assert outcome_error("InvalidRequest", "Too few.").message == "Too few."


@pytest.mark.parametrize("code", ERRORS)
def test_every_code_has_a_status_that_a_client_understands(code: str) -> None:
    status, message = ERRORS[code]

    assert 400 <= status <= 503
    assert status not in (502, 504)
    assert message


@given(
    bucket=st.text(max_size=20),
    key=st.binary(max_size=40),
    extra=st.text(max_size=40),
    message=st.text(max_size=40),
)
def test_no_name_breaks_a_document(bucket: str, key: bytes, extra: str, message: str) -> None:
    names = RequestNames(method="GET", request_id="R", host_id="H", bucket=bucket, key=key)
    error = S3Error("NoSuchKey", message, extra={"Detail": extra})

    found = fields(error_document(error, names))

    assert found["Code"] == "NoSuchKey"
    assert found["RequestId"] == "R"


def test_a_long_argument_is_cut() -> None:
    assert len(invalid_argument("m", "name", "x" * 9000).extra["ArgumentValue"]) == 1024


def test_request_ids_look_like_s3_s_and_differ() -> None:
    rng = random.Random(1)
    ids = {new_request_id(rng) for _ in range(100)}

    assert len(ids) == 100
    assert all(len(each) == 16 and each.upper() == each for each in ids)
