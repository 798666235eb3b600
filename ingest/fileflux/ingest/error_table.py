"""Every error code that a client may get from us, with its HTTP status and sentence.

The codes are S3's (IAM's for users and keys), since clients decide by them whether to retry, to
give up or to ask their user. Sentences are for people, and say nothing that strangers may not know.
"""

from collections.abc import Mapping
from typing import Final

BAD_REQUEST: Final[Mapping[str, str]] = {
    "AuthorizationHeaderMalformed": "The authorization header you provided is malformed.",
    "AuthorizationQueryParametersError": "The query parameters of the presigned URL are malformed.",
    "BadDigest": "The checksum you specified did not match what we received.",
    "EntityTooLarge": "Your proposed upload exceeds the maximum allowed size.",
    "EntityTooSmall": "Your proposed upload is smaller than the minimum allowed size.",
    "IllegalLocationConstraintException": (
        "The location constraint is incompatible with the region of this endpoint."
    ),
    "IncompleteBody": "The body ended before the number of bytes that its headers promised.",
    "InvalidArgument": "Invalid Argument",
    "InvalidBucketName": "The specified bucket is not valid.",
    "InvalidChunkSizeError": "The body has too many chunks for its size.",
    "InvalidDigest": "The Content-MD5 you specified is not valid.",
    "InvalidPart": (
        "One or more of the specified parts could not be found. The part may not have been "
        "uploaded, or the specified entity tag may not match the part's entity tag."
    ),
    "InvalidPartOrder": (
        "The list of parts was not in ascending order. Parts must be ordered by part number."
    ),
    "InvalidRequest": "The request is not valid.",
    "InvalidStorageClass": "The storage class you specified is not valid.",
    "InvalidToken": "Session tokens are not issued here, so none is valid.",
    "InvalidURI": "Couldn't parse the specified URI.",
    "KeyTooLongError": "Your key is too long.",
    "MalformedTrailerError": (
        "The trailer of the body is not well-formed, or not the one that was declared."
    ),
    "MalformedXML": (
        "The XML you provided was not well-formed or did not validate against our published schema"
    ),
    "MaxMessageLengthExceeded": "Your request was too big.",
    "MetadataTooLarge": "Your metadata headers exceed the maximum allowed metadata size.",
    "MissingRequestBodyError": "Request Body is empty",
    "MissingSecurityHeader": "Your request is missing a required header.",
    "UserKeyMustBeSpecified": "The bucket's request must name a key, and the key may not be empty.",
    "XAmzContentSHA256Mismatch": (
        "The provided 'x-amz-content-sha256' header does not match what was computed."
    ),
}

FORBIDDEN: Final[Mapping[str, str]] = {
    "AccessDenied": "Access Denied",
    "InvalidAccessKeyId": "The access key id you provided does not exist in our records.",
    "RequestTimeTooSkewed": "The difference between the request time and our time is too large.",
    "SignatureDoesNotMatch": (
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method."
    ),
}

NOT_FOUND: Final[Mapping[str, str]] = {
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchEntity": "The specified user or key does not exist.",
    "NoSuchKey": "The specified key does not exist.",
    "NoSuchUpload": (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have "
        "been aborted or completed."
    ),
    "NoSuchVersion": "The specified version does not exist.",
}

CONFLICT: Final[Mapping[str, str]] = {
    "BucketAlreadyExists": (
        "The requested bucket name is not available. The bucket namespace is shared by all users "
        "of the system. Please select a different name and try again."
    ),
    "BucketAlreadyOwnedByYou": (
        "Your previous request to create the named bucket succeeded and you already own it."
    ),
    "BucketNotEmpty": "The bucket you tried to delete is not empty",
    "ConditionalRequestConflict": (
        "A conflicting operation happened during your conditional request. Please try again."
    ),
    "DeleteConflict": "The user still owns buckets.",
    "EntityAlreadyExists": "A user or key of this name exists already.",
    "OperationAborted": (
        "A conflicting conditional operation is currently in progress against this resource. "
        "Please try again."
    ),
}

OTHERS: Final[Mapping[str, tuple[int, str]]] = {
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "RequestTimeout": (408, "The body arrived too slowly. The connection will be closed."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "NotImplemented": (501, "This operation or header implies functionality that is not here."),
    "ServiceUnavailable": (503, "Service is unable to handle request. Please try again."),
    "SlowDown": (503, "Please reduce your request rate."),
}

ERRORS: Final[Mapping[str, tuple[int, str]]] = {
    **{code: (400, message) for code, message in BAD_REQUEST.items()},
    **{code: (403, message) for code, message in FORBIDDEN.items()},
    **{code: (404, message) for code, message in NOT_FOUND.items()},
    **{code: (409, message) for code, message in CONFLICT.items()},
    **OTHERS,
}
"""Code → (status, message)."""
