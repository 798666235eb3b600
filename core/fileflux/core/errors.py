"""What can go wrong.

FileFluxError
├── NotFound            NoSuchBucket · NoSuchKey · NoSuchUpload · NoSuchBundle · NoSuchUser
├── Conflict            BucketAlreadyExists · BucketNotEmpty · PreconditionFailed
├── Invalid             BadDigest · InvalidPart · InvalidRange · EventInvalid · FormatInvalid ·
│                       TopicsInvalid
├── Unavailable         retriable: NodeUnreachable · QuorumNotReached · MetadataBusy ·
│                       BrokerUnavailable · SlowDown · NodeFull · NodeFenced · AuditGap
├── SettlementUnknown   the database is down: nobody can say whether the write applied
├── PoisonLimitReached  too many records in a row cannot be applied: we are wrong, stop
├── LaneLost            another materializer owns the lane: roll back, stand by
└── Corrupt             ChunkCorrupt · BundleCorrupt · ExtentCorrupt
                        never retried on the same replica

`retriable` is set by whoever knows, on the class. Messages carry ids, never payloads.
"""

from typing import ClassVar


class FileFluxError(Exception):
    """The root. `code` is the S3 error code that a client sees, where there is one."""

    retriable: ClassVar[bool] = False
    code: ClassVar[str] = "InternalError"


class NotFound(FileFluxError):
    """The thing named does not exist."""


class NoSuchBucket(NotFound):
    code = "NoSuchBucket"


class NoSuchKey(NotFound):
    code = "NoSuchKey"


class NoSuchUpload(NotFound):
    code = "NoSuchUpload"


class NoSuchBundle(NotFound):
    """The node does not hold this bundle, or the staging no longer does."""


class NoSuchUser(NotFound):
    code = "NoSuchEntity"


class Conflict(FileFluxError):
    """The state does not allow it."""


class BucketAlreadyExists(Conflict):
    code = "BucketAlreadyExists"


class BucketNotEmpty(Conflict):
    code = "BucketNotEmpty"


class PreconditionFailed(Conflict):
    code = "PreconditionFailed"


class Invalid(FileFluxError):
    """What came from outside is wrong."""


class BadDigest(Invalid):
    code = "BadDigest"


class InvalidPart(Invalid):
    code = "InvalidPart"


class InvalidRange(Invalid):
    code = "InvalidRange"


class EventInvalid(Invalid):
    """A record of a topic that cannot be decoded."""


class FormatInvalid(Invalid):
    """Bytes that are not a bundle or an extent of a version we know."""


class TopicsInvalid(Invalid):
    """Existing topics are not set as ours must be. The message lists every problem, a line each."""


class Unavailable(FileFluxError):
    """Not now; the same request may succeed later."""

    retriable = True
    code = "SlowDown"


class NodeUnreachable(Unavailable):
    code = "ServiceUnavailable"


class QuorumNotReached(Unavailable):
    """Fewer than W nodes confirmed in time. The write was aborted: it did not apply."""


class MetadataBusy(Unavailable):
    """Serialization retries ran out, or the database is down."""

    code = "ServiceUnavailable"


class BrokerUnavailable(Unavailable):
    code = "ServiceUnavailable"


class SlowDown(Unavailable):
    """We are full: come back later. Answered before a body is read."""


class NodeFull(Unavailable):
    """No room above the node's reserve."""


class NodeFenced(Unavailable):
    """The node stopped trusting its disk or its own epoch."""


class AuditGap(Unavailable):
    """A position of the audit stream is not there yet: read again from before it."""


class SettlementUnknown(FileFluxError):
    """The database did not answer: the write applied or it did not. Only a reader can tell."""

    code = "ServiceUnavailable"


class PoisonLimitReached(FileFluxError):
    """So many records in a row were set aside that the fault must be ours."""


class LaneLost(FileFluxError):
    """Another owner moved the position since we read it."""


class Corrupt(FileFluxError):
    """Bytes fail their checksum. Never retried on the same replica."""


class ChunkCorrupt(Corrupt):
    pass


class BundleCorrupt(Corrupt):
    pass


class ExtentCorrupt(Corrupt):
    pass
