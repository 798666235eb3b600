"""Creates the registry's topics and checks those that are there, with every problem listed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from fileflux.core.errors import BrokerUnavailable, TopicsInvalid
from fileflux.events.kafka.connection import finish
from fileflux.events.ports import TopicsFound
from fileflux.events.topics import REPLICATION_FACTOR_MAX, Topic, setting_problem

ADMIN_TIMEOUT_S: Final = 30.0
VISIBLE_INTERVAL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    topic: Topic
    partitions: int
    settings: dict[str, str]


async def ensure_topics(
    options: dict[str, Any], *, topics: Sequence[Topic], lanes: int, slots: int
) -> None:
    """Create what is missing; raise TopicsInvalid for what is wrong, BrokerUnavailable else."""
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await admin.start()
            await _ensure(admin, topics, lanes, slots)
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(f"topics cannot be checked: {error!r}") from error
    finally:
        await finish(admin.close())


async def check_topics(
    options: dict[str, Any], *, topics: Sequence[Topic], lanes: int, slots: int
) -> TopicsFound:
    """Return what is missing and what is wrong, and change nothing; raise BrokerUnavailable."""
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await admin.start()
            _, wanted = await _wanted_of(admin, topics, lanes, slots)
            there = set(await admin.list_topics())
            found = [one for one in wanted if one.topic.name in there]
            return TopicsFound(
                missing=tuple(one.topic.name for one in wanted if one not in found),
                problems=(
                    *await _partitions_found(admin, found),
                    *await _problems(admin, found),
                ),
            )
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(f"topics cannot be checked: {error!r}") from error
    finally:
        await finish(admin.close())


async def restore_topics(
    options: dict[str, Any], *, topics: Sequence[Topic], lanes: int, slots: int
) -> None:
    """Create what is missing and look at nothing else; raise BrokerUnavailable.

    For running services whose broker came back empty: settings were checked at their start, and
    what an operator changed since then must not stop them.
    """
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await admin.start()
            brokers, wanted = await _wanted_of(admin, topics, lanes, slots)
            problems = await _create_missing(admin, wanted, min(brokers, REPLICATION_FACTOR_MAX))
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(f"topics cannot be restored: {error!r}") from error
    finally:
        await finish(admin.close())
    if problems:
        raise BrokerUnavailable("topics cannot be restored: " + "; ".join(problems))


async def drop_records(
    options: dict[str, Any], topic: str, partition: int, before_offset: int
) -> None:
    """Remove the records before an offset; raise BrokerUnavailable if that is not done."""
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await admin.start()
            await admin.delete_records(
                {TopicPartition(topic, partition): RecordsToDelete(before_offset)}
            )
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(f"records of {topic} cannot be removed: {error!r}") from error
    finally:
        await finish(admin.close())


async def _ensure(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], lanes: int, slots: int
) -> None:
    brokers, wanted = await _wanted_of(admin, topics, lanes, slots)
    problems = await _create_missing(admin, wanted, min(brokers, REPLICATION_FACTOR_MAX))
    if not problems:
        problems = [*await _partition_problems(admin, wanted), *await _problems(admin, wanted)]
    if problems:
        raise TopicsInvalid("These topics are wrong:\n  " + "\n  ".join(problems))


async def _wanted_of(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], lanes: int, slots: int
) -> tuple[int, list[_Wanted]]:
    """Return how many brokers there are, and what the topics have to be on so many."""
    brokers = len((await admin.describe_cluster())["brokers"])
    return brokers, [
        _Wanted(
            topic=topic,
            partitions=topic.partition_count(lanes=lanes, slots=slots),
            settings=topic.required_settings(brokers=brokers),
        )
        for topic in topics
    ]


async def _create_missing(
    admin: AIOKafkaAdminClient, wanted: list[_Wanted], replication_factor: int
) -> list[str]:
    there = set(await admin.list_topics())
    missing = [one for one in wanted if one.topic.name not in there]
    if not missing:
        return []
    answer = await admin.create_topics(
        [
            NewTopic(one.topic.name, one.partitions, replication_factor, None, one.settings)
            for one in missing
        ],
        timeout_ms=int(ADMIN_TIMEOUT_S * 1_000),
    )
    problems = []
    for name, code, message in answer.topic_errors:
        # Another service may have created it a moment ago.
        if code and for_code(code) is not TopicAlreadyExistsError:
            problems.append(f"{name} cannot be created: {message or for_code(code).__name__}")
    return problems


async def _partition_problems(admin: AIOKafkaAdminClient, wanted: list[_Wanted]) -> list[str]:
    """A topic just made is not everywhere at once: wait until its partitions have leaders."""
    names = [one.topic.name for one in wanted]
    while True:
        found = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
        if all(_is_settled(found.get(name)) for name in names):
            break
        await asyncio.sleep(VISIBLE_INTERVAL_S)
    return _count_problems(wanted, found)


async def _partitions_found(admin: AIOKafkaAdminClient, wanted: list[_Wanted]) -> list[str]:
    """The same of topics that have been there for long: who lacks a leader now has a problem."""
    names = [one.topic.name for one in wanted]
    found = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
    unsettled = [name for name in names if not _is_settled(found.get(name))]
    return [
        *(f"{name} has partitions without a leader" for name in unsettled),
        *_count_problems([one for one in wanted if one.topic.name not in unsettled], found),
    ]


def _count_problems(wanted: list[_Wanted], found: Mapping[str, dict[str, Any]]) -> list[str]:
    return [
        f"{one.topic.name} has {count} partitions, not {one.partitions} "
        f"(FILEFLUX_LANES, FILEFLUX_SLOTS: never changed for an existing topic)"
        for one in wanted
        if (count := len(found[one.topic.name]["partitions"])) != one.partitions
    ]


def _is_settled(topic: dict[str, Any] | None) -> bool:
    if topic is None or topic["error_code"] or not topic["partitions"]:
        return False
    return all(partition["leader"] >= 0 for partition in topic["partitions"])


async def _problems(admin: AIOKafkaAdminClient, wanted: list[_Wanted]) -> list[str]:
    answers = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, one.topic.name) for one in wanted]
    )
    found = {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
        }
        for answer in answers
        for resource in answer.to_object()["resources"]
    }
    return [
        f"{one.topic.name}: {problem}"
        for one in wanted
        for name, value in one.settings.items()
        if (problem := setting_problem(name, value, found.get(one.topic.name, {}).get(name)))
    ]
