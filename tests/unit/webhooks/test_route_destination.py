"""Where a route may lead, and where never."""

import pytest

from fileflux.events.topics import all_topics
from fileflux.webhooks.routes.destination import (
    DestinationInvalid,
    KafkaTopic,
    SnsTopic,
    SqsQueue,
    check_format,
    default_format,
    one_line,
    parse_target,
)

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/photos"
ARN = "arn:aws:sns:eu-central-1:123456789012:photos"


def test_each_kind_of_destination_is_read_with_its_region() -> None:
    assert parse_target("kafka:alice.photos") == KafkaTopic("alice.photos")
    assert parse_target(QUEUE) == SqsQueue(QUEUE, "eu-west-1")
    assert parse_target(f"{QUEUE}.fifo") == SqsQueue(f"{QUEUE}.fifo", "eu-west-1")
    old = "https://us-east-2.queue.amazonaws.com/123456789012/photos"
    assert parse_target(old) == SqsQueue(old, "us-east-2")
    private = "https://vpce-0a1b-2c3d.sqs.ap-south-1.vpce.amazonaws.com/123456789012/photos"
    assert parse_target(private) == SqsQueue(private, "ap-south-1")
    own = "http://127.0.0.1:4566/000000000000/photos"
    assert parse_target(own) == SqsQueue(own, "")
    assert parse_target(ARN) == SnsTopic(ARN, "eu-central-1")
    assert parse_target(f"{ARN}.fifo") == SnsTopic(f"{ARN}.fifo", "eu-central-1")


def test_no_route_leads_to_a_topic_of_fileflux_or_kafka_itself() -> None:
    """A consumer of the audit stream must find nothing there but the audit stream."""
    names = [topic.name for topic in all_topics()]
    assert "fileflux.audit" in names
    own = [*names, "fileflux.later", "fileflux-placement-__assignor-__leader", "__consumer_offsets"]
    # Kafka lets no two topics be that differ in these signs: made first, ours could not be.
    own += ["fileflux_audit", "_.consumer_offsets", "..consumer_offsets"]
    own += ["FileFlux.audit"]  # One directory with ours where a disk ignores the case.
    for name in own:
        with pytest.raises(DestinationInvalid, match="never writes there"):
            parse_target(f"kafka:{name}")


@pytest.mark.parametrize(
    "text",
    [
        *("", "alice", "kafka:", "kafka:a b", "kafka:..", "kafka:" + "a" * 250, "kafka:ä"),
        *("https://", "https:///1/q", "https://user@sqs.eu-west-1.amazonaws.com/1/q", f"{QUEUE}?x"),
        *("https://host:99999/1/q", "ftp://host/1/q", "https://host/1/q\n", f"{QUEUE}#x"),
        *("arn:aws:sqs:eu-west-1:123456789012:q", "arn:aws:sns:eu-west-1:1:q", f"{ARN}:sub"),
        "x" * 3_000,
    ],
)
def test_what_is_no_destination_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(DestinationInvalid) as refused:
        parse_target(text)
    assert len(str(refused.value)) > 20


def test_a_format_is_one_that_the_destination_can_carry() -> None:
    """Attributes of a CloudEvent have headers in Kafka, and no place beside the body in SQS."""
    kafka, queue = parse_target("kafka:a"), parse_target(QUEUE)
    assert (default_format(kafka), default_format(queue)) == ("cloudevents", "s3")
    check_format(kafka, "s3")
    check_format(queue, "cloudevents-structured")
    for target, form in ((queue, "cloudevents"), (kafka, "xml")):
        with pytest.raises(DestinationInvalid, match="one of"):
            check_format(target, form)


def test_what_another_side_says_becomes_one_short_line() -> None:
    assert one_line("two\nlines\x1b[31m") == "two lines [31m"
    assert len(one_line("x" * 5_000)) == 300
