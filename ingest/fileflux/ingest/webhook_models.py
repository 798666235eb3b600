"""What the webhook endpoints take and answer. Descriptions are the API's documentation."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from fileflux.ingest.json_routes import Given
from fileflux.ingest.notification_rules import FILTER_BYTES_MAX

Id = Annotated[str, Field(description="32 hexadecimal digits.")]
Time = Annotated[str, Field(description="UTC, as 2026-11-30T12:00:00.000Z.")]
Start = Annotated[
    str,
    Field(
        alias="from",
        max_length=64,
        description="`beginning`, or a time (ISO 8601; UTC if it does not say); for root a "
        "position of the audit stream, too.",
    ),
]
Position = Annotated[int | None, Field(description="Of the audit stream; root is told it.")]


class CreateWebhook(Given):
    """Who shall be told what of a bucket."""

    bucket: Annotated[str, Field(max_length=63)]
    url: Annotated[str, Field(max_length=2048, description="https://… at a public address.")]
    events: list[Annotated[str, Field(max_length=100)]] = Field(
        default=["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
        min_length=1,
        max_length=32,
        description="S3's names; `:*` at the end for several.",
    )
    prefix: Annotated[str, Field(max_length=FILTER_BYTES_MAX)] = ""
    suffix: Annotated[str, Field(max_length=FILTER_BYTES_MAX)] = ""
    format: Literal["s3", "cloudevents", "cloudevents-structured"] = "s3"


class CreateDestination(Given):
    """A receiver that notification configurations name by ARN."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    url: Annotated[str, Field(max_length=2048, description="https://… at a public address.")]


class StartReplay(Given):
    """Past events, sent again up to now."""

    start: Start = "beginning"
    per_second: Annotated[int, Field(ge=1, le=1000)] = 50


class TryReplay(Given):
    """What a replay would send."""

    start: Start = "beginning"


class ListQuery(Given):
    """A page of webhooks, by id."""

    bucket: Annotated[str | None, Field(max_length=63, description="Only this bucket's.")] = None
    owner: Annotated[str | None, Field(max_length=64, description="A user's name; root only.")] = (
        None
    )
    after: Annotated[
        str, Field(pattern=r"^([0-9a-f]{32})?$", description="The `next` of the page before.")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class OwnerQuery(Given):
    """Whose destinations."""

    owner: Annotated[str | None, Field(max_length=64, description="A user's name; root only.")] = (
        None
    )


class LimitQuery(Given):
    """How many at most."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 20


class Webhook(BaseModel):
    """A subscription. `configuration_id`: of the notification configuration that made it."""

    webhook: Id
    bucket: str
    url: str
    format: str
    events: list[str]
    prefix: str
    suffix: str
    state: Literal["active", "paused", "disabled"]
    reason: Annotated[str, Field(description="Why it is not active.")]
    created: Time
    configuration_id: str | None = None


class CreatedWebhook(Webhook):
    """The secret is shown once."""

    secret: Annotated[str, Field(description="whsec_…, as Standard Webhooks has it.")]


class WebhookStatus(Webhook):
    """How a subscription does."""

    waiting: Annotated[int, Field(description="Deliveries in its queue.")]
    oldest: Annotated[str, Field(description="When the oldest was queued; empty without any.")]
    failed_attempts: Annotated[int, Field(description="The most that a waiting delivery had.")]
    dead: Annotated[int, Field(description="Deliveries that were given up.")]
    caught_up: Annotated[bool, Field(description="Whether it was told all that has happened.")]
    read_to: Position = None
    numbered_to: Position = None


class WebhookPage(BaseModel):
    """A page; `next` is null at the end."""

    webhooks: list[Webhook]
    next: str | None


class WebhookState(BaseModel):
    """What became of it."""

    webhook: Id
    state: Literal["active", "paused", "deleted"]


class NewSecret(BaseModel):
    """Both secrets sign until the old one ends."""

    webhook: Id
    secret: str
    old_secret_until: Time


class QueuedTest(BaseModel):
    """A test message is on its way; the attempts tell what came of it."""

    webhook: Id
    event_id: str


class Replay(BaseModel):
    """A replay that began. Its deliveries have its id in `fileflux-replay`."""

    webhook: Id
    replay: Id
    per_second: int
    start: Annotated[int | None, Field(alias="from", description="A position; root only.")] = None
    to: Position = None


class ReplayPreview(BaseModel):
    """What a replay would send."""

    webhook: Id
    would_send: int
    by_event: dict[str, int]
    samples: Annotated[list[str], Field(description="Bodies, five at most.")]
    complete: Annotated[bool, Field(description="Whether all of the past was looked at.")]
    until: Annotated[str | None, Field(description="If not: go on `from` this time.")] = None
    start: Annotated[int | None, Field(alias="from", description="A position; root only.")] = None
    to: Position = None


class Attempt(BaseModel):
    """One attempt to deliver. The answer's body is not kept."""

    at: Time
    event_id: str
    status: Annotated[int, Field(description="HTTP; 0 without an answer.")]
    latency_ms: float
    head: Annotated[str, Field(description="A few of the answer's headers.")]
    problem: str


class Attempts(BaseModel):
    """The newest first."""

    attempts: list[Attempt]


class DeadLetter(BaseModel):
    """A delivery that was given up after three days."""

    event_id: str
    event: str
    attempts: int
    given_up: Time
    problem: str
    body: str
    position: Position = None


class DeadLetters(BaseModel):
    """The oldest first."""

    dead_letters: list[DeadLetter]


class Redriven(BaseModel):
    """What was queued again."""

    webhook: Id
    queued: int
    left: Annotated[int, Field(description="Ask again for these.")]


class Destination(BaseModel):
    """A receiver, and the ARN by which configurations name it."""

    destination: str
    arn: str
    owner: Id
    url: str
    created: Time


class CreatedDestination(Destination):
    """The secret is shown once."""

    secret: Annotated[str, Field(description="whsec_…, as Standard Webhooks has it.")]


class DestinationDetails(Destination):
    """With the buckets whose configuration names it."""

    buckets: list[str]


class Destinations(BaseModel):
    """By name."""

    destinations: list[Destination]


class DestinationSecret(BaseModel):
    """Both secrets sign until the old one ends."""

    destination: str
    secret: str
    old_secret_until: Time


class DestinationState(BaseModel):
    """What became of it."""

    destination: str
    state: Literal["deleted"]
