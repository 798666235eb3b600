"""Errors of the JSON endpoints: problem details for HTTP APIs (RFC 9457).

`code` is beside what the RFC has: the error's name, S3's where S3 has one. Nothing of an error that
nobody expected gets out but its id.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import orjson

from fileflux.ingest.s3_errors import RequestNames, S3Error, render, s3_error

PROBLEM = "application/problem+json"


class Problem(Exception):
    """An answer that is an error, in words for whoever asked."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers)


def bad_request(detail: str) -> Problem:
    """Return the refusal of a request that means nothing."""
    return Problem(400, "InvalidRequest", detail)


def render_problem(
    error: BaseException, names: RequestNames
) -> tuple[int, str, dict[str, str], bytes]:
    """Return status, code, headers and body of the answer to a request that failed."""
    if isinstance(error, Problem):
        made, headers = error, error.headers
    else:
        known = s3_error(error)
        # 401 and 503 say the same in either form; the lengths are the server's.
        headers = dict(render(known, names).headers)
        made = _of(known)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(made.status).phrase,
        "status": made.status,
        "detail": made.detail,
        "code": made.code,
        "request_id": names.request_id,
    }
    content = b"" if names.method == "HEAD" else orjson.dumps(body)
    return made.status, made.code, {**headers, "content-type": PROBLEM}, content


def _of(known: S3Error) -> Problem:
    return Problem(known.status, known.code, known.message)
