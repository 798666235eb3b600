"""S22: one hostile value at a time, in every place of a valid request of every operation.

Each answer is whole and no 500; an error has a document with a code of AWS's list and the status
that AWS documents for it; and nothing was stored that the real database would refuse.
"""

import dataclasses
import random
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import pytest
from tests.model.asgi_client import Response
from tests.model.s3_caller import Caller
from tests.model.s3_requests import REST_REQUESTS, S3_REQUESTS, Names, Request
from tests.model.s3_world import ALICE, S3World
from tests.security.inputs import Inputs
from tests.security.test_s22_fuzz import HEADERS, PARAMETERS, VALUES

from fileflux.ingest.error_table import ERRORS

AWS_STATUS: Final[Mapping[int, str]] = {
    400: "AuthorizationHeaderMalformed AuthorizationQueryParametersError BadDigest EntityTooLarge "
    "EntityTooSmall IllegalLocationConstraintException IncompleteBody InvalidArgument "
    "InvalidBucketName InvalidDigest InvalidPart InvalidPartOrder InvalidRequest "
    "InvalidStorageClass InvalidToken InvalidURI KeyTooLongError MalformedXML "
    "MaxMessageLengthExceeded MetadataTooLarge MissingRequestBodyError MissingSecurityHeader "
    "UserKeyMustBeSpecified XAmzContentSHA256Mismatch",
    403: "AccessDenied InvalidAccessKeyId RequestTimeTooSkewed SignatureDoesNotMatch",
    404: "NoSuchBucket NoSuchKey NoSuchUpload NoSuchVersion",
    405: "MethodNotAllowed",
    409: "BucketAlreadyExists BucketAlreadyOwnedByYou BucketNotEmpty ConditionalRequestConflict "
    "OperationAborted",
    411: "MissingContentLength",
    412: "PreconditionFailed",
    416: "InvalidRange InvalidPartNumber",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable SlowDown",
}
"""Written down from AWS's "Error responses", and not from our own table."""
STATUS_OF: Final = {code: status for status, codes in AWS_STATUS.items() for code in codes.split()}
OURS: Final = {
    "DeleteConflict": "IAM's",
    "EntityAlreadyExists": "IAM's",
    "InvalidChunkSizeError": "sent by AWS, not documented",
    "MalformedTrailerError": "sent by AWS, not documented",
    "NoSuchEntity": "IAM's",
    "RequestTimeout": "408, as HTTP has it: AWS says 400, clients retry by the code",
}
MORE_VALUES: Final = (
    *("\x00", "\x85", "\u2028", "\U0010ffff", "%zz", "../..", "//", "a,b", 'W/"x"', '"*"', "--"),
    *("bytes=", "bytes=a-b", "NaN", "Infinity", "0x10", " 1", "1 ", "+1", "½", "²", "٣"),
    *("2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "-62135596801"),
    *("<a>", "&", "]]>", "{}", "a=b&c", "x" * 1025, "Sat, 01 Jan 99999 00:00:00 GMT"),
    *("Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359"),
    *("=?utf-8?b?AA==?=", "=?utf-8?q?=00?=", "=?utf-8?q?=ED=A0=80?=", "=?us-ascii?q?=FF?="),
)
MORE_HEADERS: Final = (
    *("x-amz-copy-source", "x-amz-checksum-crc64nvme", "If-Range", "x-amz-meta-", "User-Agent"),
    *("x-amz-copy-source-if-none-match", "x-amz-copy-source-if-modified-since", "x-amz-date"),
    *("Content-Disposition", "x-amz-content-sha256", "x-amz-object-lock-mode", "Authorization"),
)
MORE_PARAMETERS: Final = (
    *("x-amz-meta-z", "X-Amz-Storage-Class", "x-amz-copy-source", "X-Amz-Expires", "X-Amz-Date"),
    *("X-Amz-Credential", "location", "versioning", "max-buckets", "bucket-region"),
)
PATHS: Final = ("%00", "%ff", "%", "a%2fb", "%2500", "x" * 1100, "%ed%a0%80", "%C3%A9", "*", "%0a")
BODIES: Final = (
    *(b"", b"\x00", b"\xff\xfe<a/>", b"<Delete/>", b"x" * 70_000),
    b"<?xml version='1.0' encoding='utf-16'?><Delete/>",
    b"<Delete><Object><Key>&#0;</Key></Object></Delete>",
    b"<Delete><Object><Key>\xef\xbf\xbf</Key></Object></Delete>",
    b"<CompleteMultipartUpload><Part><PartNumber>1e3</PartNumber><ETag/></Part>"
    b"</CompleteMultipartUpload>",
)
REQUESTS: Final = {**S3_REQUESTS, **{f"REST {name}": make for name, make in REST_REQUESTS.items()}}


def test_every_code_of_ours_is_one_of_awss_with_its_status() -> None:
    differing = {code for code, (status, _) in ERRORS.items() if STATUS_OF.get(code) != status}

    assert differing == OURS.keys()


async def test_s22_a_hostile_value_anywhere_is_refused_or_served(
    world: S3World, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, rng = Caller(world.app, ALICE), inputs.rng
    _refuse_unstorable(world, monkeypatch)
    names = await _names(alice)
    for number in inputs.rounds(0.05):
        if number % 25 == 24:
            names = await _names(alice)
        name = rng.choice(sorted(REQUESTS))
        request, what = _spoilt(REQUESTS[name](names), rng)
        answer = await _send(alice, name, request, rng)
        _check(answer, request.method, f"{name} with {what}")
    assert world.is_idle()


async def _names(alice: Caller) -> Names:
    """Something to name in requests, made again since a request may have deleted it."""
    await alice("PUT", "/photos")
    await alice("PUT", "/photos/key", {}, b"0123456789")
    begun = await alice("POST", "/photos/key?uploads")
    upload_id = begun.xml().findtext("UploadId") or ""
    part = await alice("PUT", f"/photos/key?partNumber=1&uploadId={upload_id}", {}, b"abc")
    return Names(upload_id=upload_id, etag=part.headers["etag"].strip('"'))


def _spoilt(request: Request, rng: random.Random) -> tuple[Request, str]:
    """Return the request with one odd thing in it, and what that is."""
    value = rng.choice((*VALUES, *MORE_VALUES))
    match rng.randrange(5):
        case 0 | 1:
            header = rng.choice([h for h in (*HEADERS, *MORE_HEADERS) if h.isascii()])
            text = value.replace("\x00", "").encode("utf-8").decode("latin-1")
            headers = {**request.headers, header: text}
            return dataclasses.replace(request, headers=headers), f"{header}: {text!r}"
        case 2 | 3:
            item = f"{rng.choice((*PARAMETERS, *MORE_PARAMETERS))}={quote(value, safe='')}"
            mark = "&" if "?" in request.target else "?"
            return dataclasses.replace(request, target=request.target + mark + item), f"?{item}"
        case _ if rng.random() < 0.5:
            path = request.target.replace("key", rng.choice(PATHS))
            return dataclasses.replace(request, target=path), f"path {path[:100]}"
        case _:
            body = rng.choice(BODIES)
            return dataclasses.replace(request, body=body), f"body {body[:60]!r}"


async def _send(alice: Caller, name: str, request: Request, rng: random.Random) -> Response:
    given = (request.method, request.target, dict(request.headers), request.body)
    if name.startswith("REST"):
        return await alice.basic(*given)
    return await (alice.presigned(*given) if rng.random() < 0.25 else alice(*given))


def _check(answer: Response, method: str, what: str) -> None:
    assert answer.is_whole, what
    assert answer.status < 500 or answer.status == 501, (what, answer.body)
    if answer.status >= 400 and method != "HEAD":
        assert STATUS_OF[answer.code] == answer.status, (what, answer.body)
        assert answer.xml().findtext("Message"), what


def _refuse_unstorable(world: S3World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the twin of the database refuse what a TEXT, a JSONB or an INT8 cannot hold."""
    commit = world.database.tables.commit

    def checked(writes: dict[Any, Any]) -> None:
        for row in writes.values():
            assert _is_storable(row), row
        commit(writes)

    monkeypatch.setattr(world.database.tables, "commit", checked)


def _is_storable(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, Mapping):
        return all(_is_storable(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_storable, value))
    if dataclasses.is_dataclass(value):
        return all(_is_storable(getattr(value, f.name)) for f in dataclasses.fields(value))
    return True
