"""Opens the destination that a route names."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fileflux.webhooks.routes.destination import Destination, KafkaTopic, Target
from fileflux.webhooks.routes.kafka_destination import KafkaRoutes, open_kafka_topic

AWS_MODULE = "fileflux.webhooks.routes.aws_destination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """An `OpenDestination`. `aws_endpoint` and `aws_region`: of `AwsRoutes`."""

    kafka: KafkaRoutes
    aws_endpoint: str = ""
    aws_region: str = "us-east-1"

    @asynccontextmanager
    async def __call__(self, target: Target) -> AsyncIterator[Destination]:
        if isinstance(target, KafkaTopic):
            async with open_kafka_topic(target, self.kafka) as topic:
                yield topic
            return
        # In a thread: its import takes a second, in which no webhook would be sent.
        aws = await asyncio.to_thread(importlib.import_module, AWS_MODULE)
        async with aws.open_aws(
            target, aws.AwsRoutes(self.aws_endpoint, self.aws_region)
        ) as opened:
            yield opened
