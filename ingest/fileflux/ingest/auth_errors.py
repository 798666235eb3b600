"""Why a request is refused before any operation sees it.

S3RequestError          code, status, message, extra: all that rendering needs
├── who                 AccessDenied · InvalidAccessKeyId · SignatureDoesNotMatch · InvalidToken ·
│                       RequestTimeTooSkewed · PasswordRefused
├── how it was signed   AuthorizationHeaderMalformed · AuthorizationQueryParametersError ·
│                       MissingSecurityHeader · InvalidArgument
├── what it names       InvalidURI · KeyTooLong
└── its body            BadDigest · InvalidDigest · XAmzContentSHA256Mismatch · IncompleteBody ·
                        InvalidChunkSize · MalformedTrailer · MissingContentLength ·
                        EntityTooLarge · RequestTimeout

Messages are shown to strangers and logged: they never hold a secret, a signature or a token.
"""

from collections.abc import Mapping
from typing import ClassVar

from fileflux.core.errors import Invalid


class S3RequestError(Invalid):
    """A request that we refuse. `extra`: further elements of the error document."""

    code: ClassVar[str] = "InvalidRequest"
    status: ClassVar[int] = 400
    default_message: ClassVar[str] = "The request is not valid."

    def __init__(self, message: str = "", extra: Mapping[str, str] | None = None) -> None:
        self.message = message or self.default_message
        self.extra: dict[str, str] = dict(extra or {})
        super().__init__(self.message)


class InvalidRequest(S3RequestError):
    """It contradicts itself, or uses something that we do not know."""


class AccessDenied(S3RequestError):
    code = "AccessDenied"
    status = 403
    default_message = "Access Denied"


class InvalidAccessKeyId(S3RequestError):
    code = "InvalidAccessKeyId"
    status = 403
    default_message = "The access key id you provided does not exist in our records."


class SignatureDoesNotMatch(S3RequestError):
    code = "SignatureDoesNotMatch"
    status = 403
    default_message = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method."
    )


class InvalidToken(S3RequestError):
    code = "InvalidToken"
    default_message = "Session tokens are not issued here, so none is valid."


class RequestTimeTooSkewed(S3RequestError):
    code = "RequestTimeTooSkewed"
    status = 403
    default_message = "The difference between the request time and our time is too large."


class PasswordRefused(S3RequestError):
    """HTTP Basic with a wrong name or password; which of the two is not said."""

    code = "AccessDenied"
    status = 401
    default_message = "The user name or the password is wrong."


class AuthorizationHeaderMalformed(S3RequestError):
    code = "AuthorizationHeaderMalformed"
    default_message = "The authorization header you provided is malformed."


class AuthorizationQueryParametersError(S3RequestError):
    code = "AuthorizationQueryParametersError"
    default_message = "The query parameters of the presigned URL are malformed."


class MissingSecurityHeader(S3RequestError):
    code = "MissingSecurityHeader"
    default_message = "Your request is missing a required header."


class InvalidArgument(S3RequestError):
    code = "InvalidArgument"


class InvalidURI(S3RequestError):
    code = "InvalidURI"
    default_message = "Couldn't parse the specified URI."


class KeyTooLong(S3RequestError):
    code = "KeyTooLongError"
    default_message = "Your key is too long."


class BadDigest(S3RequestError):
    code = "BadDigest"
    default_message = "The checksum you specified did not match what we received."


class InvalidDigest(S3RequestError):
    code = "InvalidDigest"
    default_message = "The Content-MD5 you specified is not valid."


class XAmzContentSHA256Mismatch(S3RequestError):
    code = "XAmzContentSHA256Mismatch"
    default_message = "The provided 'x-amz-content-sha256' header does not match what was computed."


class IncompleteBody(S3RequestError):
    code = "IncompleteBody"
    default_message = "The body ended before the number of bytes that its headers promised."


class InvalidChunkSize(S3RequestError):
    code = "InvalidChunkSizeError"
    default_message = "The body has too many chunks for its size."


class MalformedTrailer(S3RequestError):
    code = "MalformedTrailerError"
    default_message = (
        "The trailer of the body is not well-formed, or not the one that was declared."
    )


class MissingContentLength(S3RequestError):
    code = "MissingContentLength"
    status = 411
    default_message = "You must provide the Content-Length HTTP header."


class EntityTooLarge(S3RequestError):
    code = "EntityTooLarge"
    default_message = "Your proposed upload exceeds the maximum allowed size."


class RequestTimeout(S3RequestError):
    code = "RequestTimeout"
    status = 408
    default_message = "The body arrived too slowly. The connection will be closed."
