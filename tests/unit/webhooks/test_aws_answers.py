"""Whatever answers instead of SQS or SNS, a route says so, and what was sent is left."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.model.route_rows import message

from fileflux.webhooks.routes.aws_destination import AwsRoutes, open_aws
from fileflux.webhooks.routes.destination import SnsTopic, SqsQueue

ANSWERS = [
    (200, "text/html", b"<html>log in first"),
    (200, "application/json", b"[]"),
    (200, "application/json", b'{"Successful": [{"x": 1}]}'),
    (200, "application/json", b"\xff\xfe"),
    (302, "text/html", b""),
    (400, "application/json", b'{"__type": 5, "message": {}}'),
    (413, "text/html", b"x" * 1_000),
]
TOO_LONG = (
    b"<ErrorResponse><Error><Type>Sender</Type><Code>BatchRequestTooLong</Code>"
    b"<Message>too long</Message></Error></ErrorResponse>"
)


class Stranger:
    """Answers everything with `answer`; `requests`: how often."""

    def __init__(self) -> None:
        self.answer = ANSWERS[0]
        self.requests = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        status, content_type, body = self.answer
        return web.Response(status=status, body=body, headers={"content-type": content_type})


@pytest.fixture
async def stranger(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stranger]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    made, application = Stranger(), web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    async with TestServer(application) as server:
        made.url = str(server.make_url("/")).rstrip("/")
        yield made


@pytest.mark.parametrize("kind", ["sqs", "sns"])
async def test_an_answer_that_is_none_of_theirs_is_a_problem_and_no_error_of_ours(
    kind: str, stranger: Stranger
) -> None:
    target: Any = SqsQueue(f"{stranger.url}/1/q", "")
    if kind == "sns":
        target = SnsTopic("arn:aws:sns:us-east-1:123456789012:q", "us-east-1")
    sent = (message(1, format="s3"),)
    async with open_aws(target, AwsRoutes(stranger.url)) as destination:
        for answer in ANSWERS:
            stranger.answer = answer
            outcome = await destination.send(sent)
            assert outcome.left == sent
            assert outcome.problem


async def test_a_batch_that_is_too_long_is_known_by_its_code(stranger: Stranger) -> None:
    """Ten, five, two and one: what is too long by itself is left."""
    stranger.answer = (400, "text/xml", TOO_LONG)
    target = SnsTopic("arn:aws:sns:us-east-1:123456789012:q", "us-east-1")
    sent = tuple(message(n, format="s3") for n in range(1, 11))
    async with open_aws(target, AwsRoutes(stranger.url)) as destination:
        outcome = await destination.send(sent)
    assert outcome.left == sent
    assert outcome.problem == "BatchRequestTooLong: too long"
    assert stranger.requests == 4
