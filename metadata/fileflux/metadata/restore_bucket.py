"""The bucket that a restore makes again because it was deleted: as it was, under another id."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fileflux.core.changes import CreateBucket, Outcome
from fileflux.core.errors import Invalid
from fileflux.core.ids import BucketId, new_id
from fileflux.metadata.notification import ENTRY, from_config, to_entry
from fileflux.metadata.rows import BucketRow


class RestoreRefused(Invalid):
    """This cannot be restored. The message says what to do."""


def bucket_again(past: BucketRow, rng: random.Random, who: Mapping[str, Any]) -> CreateBucket:
    """Return the change that makes it; `who`: what every change has."""
    return CreateBucket(
        **who,
        bucket_id=BucketId(new_id(rng)),
        bucket=past.name,
        owner_id=past.owner_id,
        storage_class=past.storage_class,
        config=_config_again(past.config, rng),
    )


def check_made(outcomes: Sequence[Outcome]) -> None:
    """Raise RestoreRefused unless it was made, or could be."""
    for outcome in outcomes:
        if not outcome.ok:
            raise RestoreRefused(
                f"the bucket was deleted, and cannot be made again: {outcome.status} "
                f"{outcome.detail}".rstrip()
            )


def _config_again(config: Mapping[str, object], rng: random.Random) -> Mapping[str, object]:
    """Name other subscriptions: those of then ended with the bucket, wherever they had got to."""
    parts = [replace(one, subscription_id=new_id(rng)) for one in from_config(config)]
    return {**config, ENTRY: to_entry(parts)} if parts else config
