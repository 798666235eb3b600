"""Get and PutBucketNotificationConfiguration.

A configuration is an entry of the bucket's: changed by a transaction with an audit record, brought
back by a rebuild. The dispatcher of webhooks makes the subscriptions that it leads to, so nothing
here reaches a receiver; it is told by a mark, which is written first (`webhooks.notifications`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from fileflux.core.changes import ConfigureBucket
from fileflux.core.errors import NoSuchBucket
from fileflux.core.ids import new_id
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.notification_rules import checked
from fileflux.ingest.notification_xml import configuration_result, parse_configuration
from fileflux.ingest.operations import SMALL_XML_BYTES_MAX
from fileflux.ingest.put_object import settled
from fileflux.metadata.notification import ENTRY, Notification, from_config, to_entry
from fileflux.metadata.rows import BucketRow
from fileflux.metadata.sequencer import STREAM

SKIP_HEADER: Final = "x-amz-skip-destination-validation"


async def get_configuration(call: Call, deps: Dependencies) -> Answer:
    """Answer what was put; an empty document if nothing was."""
    bucket = await _fresh(call, deps)
    return Answer.xml(configuration_result(from_config(bucket.config)))


async def put_configuration(call: Call, deps: Dependencies) -> Answer:
    """Replace the configuration. Parts that stay the same go on where they are."""
    body = await call.small_body(deps.clock, SMALL_XML_BYTES_MAX)
    asked = parse_configuration(body)
    bucket = await _fresh(call, deps)
    owned = await deps.webhooks.destinations_of([bucket.owner_id]) if asked else []
    parts = checked(
        asked,
        owner_id=bucket.owner_id,
        region=deps.auth.region,
        destinations={one.name for one in owned},
    )
    is_tested = call.headers.get(SKIP_HEADER) != "true"
    known = from_config(bucket.config)
    position = await announce(deps, bucket)
    new = [
        replace(one, subscription_id=new_id(deps.rng), is_tested=is_tested, first_position=position)
        for one in parts
    ]
    await _store(call, deps, bucket, {ENTRY: to_entry([_kept(one, known) for one in new])})
    return Answer(200)


async def announce(deps: Dependencies, bucket: BucketRow) -> int:
    """Let the dispatcher look at the bucket, from now on for a while; return the next position."""
    position = (await deps.reader.audit_head(STREAM)).next_position
    await deps.webhooks.mark_bucket(bucket.bucket_id, new_id(deps.rng), position)
    return position


def _kept(one: Notification, known: Sequence[Notification]) -> Notification:
    """The part that was there, if it means the same: it goes on where it is."""
    return next((other for other in known if other.means(one)), one)


async def _store(
    call: Call, deps: Dependencies, bucket: BucketRow, entries: Mapping[str, object]
) -> None:
    change = ConfigureBucket(
        upload_id=deps.new_upload_id(),
        actor=call.actor,
        at_us=call.received_us,
        bucket_id=bucket.bucket_id,
        bucket=bucket.name,
        entries=entries,
    )
    outcome = await deps.direct.submit(change)
    deps.buckets.forget(bucket.name)
    settled(call, deps, outcome)


async def _fresh(call: Call, deps: Dependencies) -> BucketRow:
    """The bucket as it is now: who puts a configuration reads it at the next worker at once."""
    name = call.bucket.name
    found = (await deps.reader.find_buckets([name])).get(name)
    if found is None or found.bucket_id != call.bucket.bucket_id:
        raise NoSuchBucket(name)
    return found
