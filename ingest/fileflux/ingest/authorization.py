"""May this principal do that? Each user owns its buckets; root may do everything.

An operation without an action in the table is denied to everybody: forgetting is safe.
"""

from fileflux.ingest.auth import Principal
from fileflux.ingest.auth_errors import AccessDenied
from fileflux.ingest.operations import Operation
from fileflux.metadata.rows import BucketRow


def authorize_operation(principal: Principal, operation: Operation) -> None:
    """Raise AccessDenied for an operation that names no action."""
    if not operation.action:
        raise AccessDenied
    assert principal.user_id, "a principal has an id"


def authorize_bucket(principal: Principal, bucket: BucketRow) -> None:
    """Raise AccessDenied unless the bucket is the principal's."""
    if bucket.owner_id != principal.user_id and not principal.is_root:
        raise AccessDenied
