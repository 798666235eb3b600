"""Headers that the maker of a presigned URL moved into its query.

SDKs sign `x-amz-meta-…` and its kind as query parameters, since whoever uses the URL cannot be told
to send headers. S3 takes them for headers, and so must we: an upload that lost its metadata, or a
copy that became an empty object, would be a silent answer to another request.
"""

from dataclasses import replace
from typing import Final

from fileflux.ingest.claim import AUTH_PARAMS
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.s3_errors import invalid_argument

PREFIX: Final = "x-amz-"
NEVER: Final = AUTH_PARAMS | {"x-amz-content-sha256", "x-amz-decoded-content-length"}
"""What speaks of the signature and of the body's transfer was read before."""


def with_hoisted_headers(request: ParsedRequest) -> ParsedRequest:
    """Return the request with those parameters among its headers.

    Only for requests whose query is signed. A parameter that contradicts a header, another one or
    HTTP itself is refused.
    """
    hoisted: dict[str, str] = {}
    for name, value in request.query:
        header = name.lower()
        if header.startswith(PREFIX) and header not in NEVER:
            text = _octets(name, value)
            if hoisted.get(header, text) != text or request.headers.get(header, text) != text:
                raise invalid_argument("Two values of one header.", name[:100], value)
            hoisted[header] = text
    return replace(request, headers={**request.headers, **hoisted}) if hoisted else request


def _octets(name: str, value: str) -> str:
    if any(char < " " or char == "\x7f" for char in name + value):
        raise invalid_argument("A control character in a header.", name[:100], value)
    return value.encode("utf-8").decode("latin-1").strip(" \t")
