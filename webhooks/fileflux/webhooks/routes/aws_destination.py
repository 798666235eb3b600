"""SQS queues and SNS topics as destinations, by aiobotocore.

Credentials come from the environment's usual chain. This module is loaded with the first route that
needs it: it is large.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from fileflux.webhooks.routes.aws_batches import BatchRefused, BatchTooLong, send_in_batches
from fileflux.webhooks.routes.destination import (
    DestinationFailed,
    Outcome,
    RoutedMessage,
    SnsTopic,
    SqsQueue,
    one_line,
)

CALL_DEADLINE_S: Final = 30.0
TOO_LONG: Final = "BatchRequestTooLong"


@dataclass(frozen=True, slots=True)
class AwsRoutes:
    """`endpoint`: empty, or whom to ask instead of AWS. `region`: where a target tells none."""

    endpoint: str = ""
    region: str = "us-east-1"


@asynccontextmanager
async def open_aws(
    target: SqsQueue | SnsTopic, tools: AwsRoutes
) -> AsyncIterator["AwsDestination"]:
    """Connect; raise DestinationFailed."""
    is_queue = isinstance(target, SqsQueue)
    config = AioConfig(
        connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"}
    )
    created = _session().create_client(
        "sqs" if is_queue else "sns",
        endpoint_url=_endpoint(target, tools),
        region_name=target.region or tools.region,
        config=config,
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(created)
        except (BotoCoreError, ValueError, OSError) as error:
            raise DestinationFailed(one_line(f"AWS cannot be asked: {error}")) from error
        yield AwsDestination(client, target)


@cache
def _session() -> Any:
    """One for all: it keeps the descriptions of the services, which are long, and credentials."""
    return get_session()


def _endpoint(target: SqsQueue | SnsTopic, tools: AwsRoutes) -> str | None:
    """The queue's own host: what the library would choose is a name of long ago."""
    if tools.endpoint or isinstance(target, SnsTopic):
        return tools.endpoint or None
    parts = urlsplit(target.url)
    return f"{parts.scheme}://{parts.netloc}"


class AwsDestination:
    """The port `Destination`."""

    def __init__(self, client: Any, target: SqsQueue | SnsTopic) -> None:
        self._client = client
        self._target = target

    async def send(self, messages: Sequence[RoutedMessage]) -> Outcome:
        is_queue = isinstance(self._target, SqsQueue)
        return await send_in_batches(
            messages,
            self._call,
            body_name="MessageBody" if is_queue else "Message",
            is_fifo=self._target.is_fifo,
        )

    async def _call(self, entries: Sequence[dict[str, Any]]) -> Any:
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                return await self._send(entries)
        except ClientError as error:
            said = error.response.get("Error", {})
            problem = f"{said.get('Code', '')}: {said.get('Message', '')}"
            is_long = TOO_LONG in str(said.get("Code", ""))
            raise (BatchTooLong if is_long else BatchRefused)(problem) from error
        except TimeoutError as error:
            raise BatchRefused(f"no answer within {CALL_DEADLINE_S:.0f} s") from error
        except (BotoCoreError, OSError) as error:
            raise BatchRefused(str(error) or repr(error)) from error
        except Exception as error:
            # A boundary: the library's parsers raise what they like at what is not AWS's.
            kind = type(error).__name__
            raise BatchRefused(f"the answer cannot be read ({kind}): is it AWS's?") from error

    async def _send(self, entries: Sequence[dict[str, Any]]) -> Any:
        if isinstance(self._target, SqsQueue):
            return await self._client.send_message_batch(QueueUrl=self._target.url, Entries=entries)
        return await self._client.publish_batch(
            TopicArn=self._target.arn, PublishBatchRequestEntries=entries
        )
