"""Entries of the log carry the ids of the request that they are of, and of its trace."""

import json
import subprocess
import sys
from typing import Any

import pytest
from structlog.contextvars import get_contextvars
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, open_s3_world

from fileflux.ingest.call import Answer
from fileflux.ingest.operation_handlers import HANDLERS

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}


@pytest.mark.parametrize(("headers", "trace"), [({}, None), (TRACED, TRACE)])
async def test_what_a_request_logs_carries_its_id_and_its_clients_trace(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], trace: str | None
) -> None:
    seen: list[dict[str, Any]] = []

    async def handler(*_: Any) -> Answer:
        seen.append(get_contextvars())
        return Answer(200)

    monkeypatch.setitem(HANDLERS, "ListBuckets", handler)
    async with open_s3_world() as world:
        answer = await Caller(world.app, ALICE)("GET", "/", headers)
    assert seen[0]["request_id"] == answer.headers["x-amz-request-id"]
    assert seen[0].get("trace_id") == trace


PROGRAM = """
from fileflux.core.telemetry import configure_logging, get_logger, note_request
from fileflux.core.tracing import CURRENT, TraceContext
configure_logging(log_format="json")
log = get_logger("a")
note_request("R1", "client")
log.info("one", bucket="b")
CURRENT.set(TraceContext("recorded", "span", True))
log.info("two")
note_request("R2")
log.error("three", exc_info=ValueError("no"))
"""


def test_an_entry_is_one_line_of_json_with_the_ids_of_request_and_innermost_span() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    one, two, three = map(json.loads, done.stderr.splitlines())
    assert (one["request_id"], one["trace_id"], one["bucket"]) == ("R1", "client", "b")
    assert (two["request_id"], two["trace_id"], two["span_id"]) == ("R1", "recorded", "span")
    assert three["request_id"] == "R2"
    assert "ValueError: no" in three["exception"]
