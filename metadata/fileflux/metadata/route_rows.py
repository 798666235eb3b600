"""Rows of routes: whose events go to which topic or queue, and how far they have got.

They are an operator's configuration and its work in progress, not part of the audited state (ADR
0012): nothing here is needed to rebuild the store.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fileflux.core.ids import BucketId, UserId

RouteState = Literal["active", "paused"]
ANY_BUCKET: Final = BucketId(b"")
"""Of a route for all buckets of its owner."""
NO_REPLAY: Final = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`bucket` is empty, and `bucket_id` ANY_BUCKET, for all buckets of `owner_id`.

    `destination`: as `webhooks.routes.destination` reads it. `next_position`: everything before it
    was acknowledged. What lies before `replay_until` is sent again, marked with `replay_id`.
    `problem`: why it does not get on since `problem_us`, empty while it does.
    """

    route_id: bytes
    name: str
    owner_id: UserId
    bucket_id: BucketId
    bucket: str
    prefix: bytes
    suffix: bytes
    event_names: tuple[str, ...]
    destination: str
    format: str
    state: RouteState
    next_position: int
    replay_id: bytes
    replay_until: int
    problem: str
    problem_us: int
    created_us: int
    changed_us: int
