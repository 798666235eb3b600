"""Where routes lead: a Kafka topic, an SQS queue, an SNS topic; and the port that all of them are.

Routes are made by operators, who may reach everything that this process reaches: there is no
defence against the addresses that they write, and tenants write none.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from fileflux.core.errors import Invalid, Unavailable
from fileflux.events.topics import is_ours
from fileflux.webhooks.rendering import CLOUDEVENTS, S3, STRUCTURED

KAFKA: Final = "kafka:"
FIFO: Final = ".fifo"
ADDRESS_SIZE_MAX: Final = 2_048
PROBLEM_SIZE_MAX: Final = 300
_TOPIC: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}")
_QUEUE: Final = re.compile(r"/[A-Za-z0-9_./-]{1,200}(\.fifo)?")
_SNS: Final = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_SQS_HOST: Final = re.compile(
    r"(?:vpce-[a-z0-9-]+\.)?sqs(?:-fips)?\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.amazonaws\.",
    re.IGNORECASE,
)
_FORMATS: Final = {"kafka": (CLOUDEVENTS, STRUCTURED, S3), "aws": (S3, STRUCTURED)}


class DestinationInvalid(Invalid):
    """A destination or a format that no route can have. The message says which there are."""


class DestinationFailed(Unavailable):
    """A destination cannot be opened now. The message says why."""


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic on the cluster that FileFlux uses itself."""

    name: str


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """`region` is empty where the URL does not tell it."""

    url: str
    region: str

    @property
    def is_fifo(self) -> bool:
        return self.url.endswith(FIFO)


@dataclass(frozen=True, slots=True)
class SnsTopic:
    """An SNS topic by its ARN."""

    arn: str
    region: str

    @property
    def is_fifo(self) -> bool:
        return self.arn.endswith(FIFO)


Target = KafkaTopic | SqsQueue | SnsTopic


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedMessage:
    """An event on its way. `key`: bucket/key; messages of one key stay in order.

    `event_id`: the same on every attempt and in every replay; `send_id`: another one in a replay,
    since a FIFO queue swallows what it has seen within five minutes.
    """

    position: int
    key: bytes
    event_id: str
    send_id: str
    event_name: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some messages. `left`: those that were not acknowledged, in order.

    `problem`: why, if there are any.
    """

    left: tuple[RoutedMessage, ...] = ()
    problem: str = ""


class Destination(Protocol):
    """Takes messages."""

    async def send(self, messages: Sequence[RoutedMessage]) -> Outcome:
        """Send in order; return when all were acknowledged, or were not.

        Of one key nothing is acknowledged behind something that was not: what is left is in order.
        Never raises for what the other side does. What was not acknowledged may have arrived.
        """


OpenDestination = Callable[[Target], AbstractAsyncContextManager[Destination]]
"""May raise DestinationFailed, or BrokerUnavailable."""


def parse_target(text: str) -> Target:
    """Return where a destination leads; raise DestinationInvalid."""
    if len(text) > ADDRESS_SIZE_MAX or not text.isascii() or not text.isprintable():
        raise DestinationInvalid(f"a destination has at most {ADDRESS_SIZE_MAX} ASCII characters")
    if text.startswith(KAFKA):
        return _topic(text.removeprefix(KAFKA))
    if found := _SNS.fullmatch(text):
        return SnsTopic(text, found[1])
    if text.startswith(("https://", "http://")):
        return _queue(text)
    raise DestinationInvalid(
        "a destination is kafka:TOPIC, the URL of an SQS queue (https://sqs.REGION.amazonaws.com/"
        "ACCOUNT/QUEUE), or the ARN of an SNS topic (arn:aws:sns:REGION:ACCOUNT:TOPIC)"
    )


def check_format(target: Target, form: str) -> None:
    """Raise DestinationInvalid for a format that the destination cannot carry."""
    formats = _formats(target)
    if form not in formats:
        raise DestinationInvalid(f"a format for this destination is one of: {', '.join(formats)}")


def default_format(target: Target) -> str:
    """Return what consumers of such a destination usually read."""
    return _formats(target)[0]


def one_line(problem: str) -> str:
    """Return somebody else's message as one short line that a terminal may be given."""
    text = "".join(sign if sign.isprintable() else " " for sign in problem)
    return text[:PROBLEM_SIZE_MAX]


def _formats(target: Target) -> Sequence[str]:
    return _FORMATS["kafka" if isinstance(target, KafkaTopic) else "aws"]


def _topic(name: str) -> KafkaTopic:
    if not _TOPIC.fullmatch(name):
        raise DestinationInvalid("a topic's name has up to 249 of A-Z a-z 0-9 . _ -")
    if is_ours(name):
        raise DestinationInvalid(
            f"{name} has a name of FileFlux's or Kafka's own: a route never writes there"
        )
    return KafkaTopic(name)


def _queue(url: str) -> SqsQueue:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # Raises if it is none.
    except ValueError as error:
        raise DestinationInvalid("the queue's URL cannot be read") from error
    plain = not (parts.query or parts.fragment) and "@" not in parts.netloc
    if not (plain and parts.hostname and _QUEUE.fullmatch(parts.path)):
        raise DestinationInvalid(
            "an SQS queue's URL is https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE"
        )
    found = _SQS_HOST.match(parts.hostname)
    return SqsQueue(url, (found[1] or found[2]) if found else "")
