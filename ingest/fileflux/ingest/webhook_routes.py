"""The table of the webhook endpoints, and what it makes of a request."""

from collections.abc import Mapping
from typing import Final

from fileflux.ingest import webhook_api as api
from fileflux.ingest import webhook_models as models
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.json_routes import JsonRoute, NoFields, answer_json, find_route
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.respond_async import STATUS_BUCKET

_PATHS: Final = (b"webhooks", b"webhook-destinations")


def is_asked(request: ParsedRequest) -> bool:
    """Tell whether a request is for one of these endpoints, or for nothing that has their name."""
    return request.bucket == STATUS_BUCKET and request.key.partition(b"/")[0] in _PATHS


def route_of(request: ParsedRequest) -> tuple[JsonRoute, Mapping[str, str]]:
    """Return what is asked for; raise Problem 404 or 405."""
    return find_route(ROUTES, request)


async def answer(
    route: JsonRoute, names: Mapping[str, str], call: Call, deps: Dependencies
) -> Answer:
    """Answer an authenticated request. Raise Problem, S3Error, Unavailable."""
    with api.in_words():
        return await answer_json(route, names, call, deps)


_ONE: Final = "webhooks/{webhook}"
_NONE: Final = {404: "No webhook of the asker's has this id."}
_NAMED: Final = {403: "Only root names an owner.", 404: "There is no such owner."}
_UNKNOWN: Final = {**_NAMED, 404: "There is no such owner, or it has no such destination."}
_BUSY: Final = {503: "Too many searches at once; `Retry-After` says when to come back."}

ROUTES: Final = (
    JsonRoute(
        method="POST",
        path="webhooks",
        name="CreateWebhook",
        summary="Tell a receiver what happens in a bucket from now on.",
        handler=api.create_webhook,
        body=models.CreateWebhook,
        answer=models.CreatedWebhook,
        status=201,
        refusals={
            403: "The bucket is somebody else's.",
            404: "There is no such bucket.",
            409: f"The bucket has {api.PER_BUCKET_MAX} webhooks.",
        },
    ),
    JsonRoute(
        method="GET",
        path="webhooks",
        name="ListWebhooks",
        summary="Show webhooks, also those that notification configurations made; never secrets.",
        handler=api.list_webhooks,
        query=models.ListQuery,
        answer=models.WebhookPage,
        refusals={
            403: "The bucket is somebody else's, or only root names an owner.",
            404: "There is no such bucket or owner.",
        },
    ),
    JsonRoute(
        method="GET",
        path=_ONE,
        name="GetWebhook",
        summary="Show a webhook's filter and state, how far it is behind, what it gave up.",
        handler=api.show_webhook,
        answer=models.WebhookStatus,
        refusals=_NONE,
    ),
    JsonRoute(
        method="DELETE",
        path=_ONE,
        name="DeleteWebhook",
        summary="Remove a webhook with its queue and its history.",
        handler=api.delete_webhook,
        answer=models.WebhookState,
        refusals={**_NONE, 409: "A notification configuration made it: remove it from that."},
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/pause",
        name="PauseWebhook",
        summary="Send nothing until it is resumed; what happens meanwhile is sent then.",
        handler=api.pause_webhook,
        body=NoFields,
        answer=models.WebhookState,
        refusals=_NONE,
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/resume",
        name="ResumeWebhook",
        summary="Go on after a pause or a 410, or at once instead of after the back-off.",
        handler=api.resume_webhook,
        body=NoFields,
        answer=models.WebhookState,
        refusals=_NONE,
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/test",
        name="TestWebhook",
        summary="Queue a signed test message; the attempts tell what the receiver answered.",
        handler=api.test_webhook,
        body=NoFields,
        answer=models.QueuedTest,
        status=202,
        refusals={**_NONE, 409: "It is not active, or its queue is long."},
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/replay",
        name="ReplayWebhook",
        summary="Send past events again, up to now, with their own ids and marked as a replay.",
        handler=api.replay_webhook,
        body=models.StartReplay,
        answer=models.Replay,
        status=202,
        refusals={
            **_NONE,
            409: f"{api.REPLAYS_MAX} of the owner's are being queued.",
            **_BUSY,
        },
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/dry-run",
        name="PreviewReplay",
        summary="Count and show what a replay would send; send nothing.",
        handler=api.preview_replay,
        body=models.TryReplay,
        answer=models.ReplayPreview,
        refusals={**_NONE, **_BUSY},
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/rotate-secret",
        name="RotateWebhookSecret",
        summary="Sign with a new secret, shown once, and for a day with the old one too.",
        handler=api.rotate_secret,
        body=NoFields,
        answer=models.NewSecret,
        refusals={**_NONE, 409: "A notification configuration made it: rotate its destination's."},
    ),
    JsonRoute(
        method="GET",
        path=f"{_ONE}/attempts",
        name="ListWebhookAttempts",
        summary="Show the last attempts: when, which event, the status, how long it took.",
        handler=api.list_attempts,
        query=models.LimitQuery,
        answer=models.Attempts,
        refusals=_NONE,
    ),
    JsonRoute(
        method="GET",
        path=f"{_ONE}/dead-letters",
        name="ListDeadLetters",
        summary="Show deliveries that were given up, with the last problem.",
        handler=api.list_dead_letters,
        query=models.LimitQuery,
        answer=models.DeadLetters,
        refusals=_NONE,
    ),
    JsonRoute(
        method="POST",
        path=f"{_ONE}/redrive",
        name="RedriveDeadLetters",
        summary=f"Send again what was given up, at most {api.REDRIVEN_MAX:,} at once.",
        handler=api.redrive_webhook,
        body=NoFields,
        answer=models.Redriven,
        refusals=_NONE,
    ),
    JsonRoute(
        method="POST",
        path="webhook-destinations",
        name="CreateDestination",
        summary="Make a receiver that buckets' notification configurations name by its ARN.",
        handler=api.create_destination,
        query=models.OwnerQuery,
        body=models.CreateDestination,
        answer=models.CreatedDestination,
        status=201,
        refusals={**_NAMED, 409: "The name is taken, or there are too many."},
    ),
    JsonRoute(
        method="GET",
        path="webhook-destinations",
        name="ListDestinations",
        summary="Show destinations, never their secrets.",
        handler=api.list_destinations,
        query=models.OwnerQuery,
        answer=models.Destinations,
        refusals=_NAMED,
    ),
    JsonRoute(
        method="GET",
        path="webhook-destinations/{destination}",
        name="GetDestination",
        summary="Show a destination and the buckets that name it.",
        handler=api.show_destination,
        query=models.OwnerQuery,
        answer=models.DestinationDetails,
        refusals=_UNKNOWN,
    ),
    JsonRoute(
        method="DELETE",
        path="webhook-destinations/{destination}",
        name="DeleteDestination",
        summary="Remove a destination that no bucket names any more.",
        handler=api.delete_destination,
        query=models.OwnerQuery,
        answer=models.DestinationState,
        refusals={**_UNKNOWN, 409: "Buckets name it; the answer says which."},
    ),
    JsonRoute(
        method="POST",
        path="webhook-destinations/{destination}/rotate-secret",
        name="RotateDestinationSecret",
        summary="Sign with a new secret, shown once, and for a day with the old one too.",
        handler=api.rotate_destination,
        query=models.OwnerQuery,
        body=NoFields,
        answer=models.DestinationSecret,
        refusals=_UNKNOWN,
    ),
)
