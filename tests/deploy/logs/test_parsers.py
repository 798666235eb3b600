"""Lines become records: FileFlux's as its logger prints them, the others' as they are published."""

import json
import subprocess
import sys

import pytest
from tests.deploy.logs.fluent_bit import PARSERS, Lua, Record, first_parsed, joined, parsed

shape = Lua("shape")

COCKROACH = (
    "I261201 02:14:40.123456 12 1@server/node.go:512 ⋮ [T1,n1] 42  node connected via gossip",
    "W261201 02:14:40.123456 8 kv/kvserver/store.go:99 ⋮ [n1] 7  slow",
    "E261201 02:14:40.123456 1 cli/start.go:12 failed",
)
KAFKA = (
    "2026-12-01 02:14:40 INFO  [main] KafkaServer:66 - started",
    "2026-12-01 02:14:40,123 WARN  AbstractFetcher:12 - lagging",
    "2026-12-01 02:14:40 ERROR [kafka-0] kafka.log.LogManager:1 - disk - gone",
)
ENVOY = (
    '[2026-12-01T02:14:40.123Z] "PUT /photos/a.jpg?X-Amz-Signature=1 HTTP/1.1" 503 UF '
    'upstream_reset - "-" 12 34 5 4 "10.0.0.1" "aws-cli/2" "4bf9" "s3.example" "10.0.1.2:9000" '
    "outbound|9000||fileflux-ingest.fileflux.svc.cluster.local - 10.0.1.2:9000 10.0.0.1:1 - default"
)
PROGRAM = """
from fileflux.core.telemetry import configure_logging, get_logger, note_request
configure_logging(log_format="json")
note_request("R1", "4bf9")
try:
    raise ValueError("no")
except ValueError as error:
    get_logger("fileflux.ingest.app").error("a request failed", bucket="b", exc_info=error)
"""


def record_of(line: str) -> Record:
    found = first_parsed(line)
    assert found is not None
    return shape({**found[1], "stream": "stderr"})


@pytest.mark.parametrize(
    ("line", "level", "message"),
    list(
        zip(
            COCKROACH,
            ("info", "warning", "error"),
            ("node connected via gossip", "slow", "failed"),
            strict=True,
        )
    ),
)
def test_cockroachdb_is_read(line: str, level: str, message: str) -> None:
    assert first_parsed(line) == ("cockroachdb", parsed("cockroachdb", line))
    record = record_of(line)
    assert (record["level"], record["message"]) == (level, message)


@pytest.mark.parametrize(
    ("line", "level", "message"),
    list(
        zip(
            KAFKA,
            ("info", "warning", "error"),
            ("started", "lagging", "disk - gone"),
            strict=True,
        )
    ),
)
def test_kafka_is_read(line: str, level: str, message: str) -> None:
    assert first_parsed(line) == ("kafka", parsed("kafka", line))
    record = record_of(line)
    assert (record["level"], record["message"]) == (level, message)


def test_a_proxy_is_read_and_its_signature_is_hidden() -> None:
    record = Lua("redact")(record_of(ENVOY))
    access = record["access"]
    assert (access["status"], access["method"], access["duration_ms"]) == (503, "PUT", 5)
    assert access["path"] == "/photos/a.jpg?X-Amz-Signature=[redacted]"
    assert record["level"] == "warning"


def test_what_fileflux_logs_is_read_with_its_ids_and_its_own_fields_apart() -> None:
    """CloudWatch's alarm asks for `level` at the top."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert PARSERS["fileflux"]["format"] == "json"
    (line,) = done.stderr.splitlines()
    entry = json.loads(line)
    assert entry.pop(PARSERS["fileflux"]["time_key"]).endswith("Z")
    record = shape({**entry, "kubernetes": {"pod_name": "p"}, "stream": "stderr", "_p": "F"})
    assert record.pop("exception").endswith("ValueError: no")
    assert record == {
        "message": "a request failed",
        "level": "error",
        "logger": "fileflux.ingest.app",
        "request_id": "R1",
        "trace_id": "4bf9",
        "kubernetes": {"pod_name": "p"},
        "stream": "stderr",
        "fileflux": {"bucket": "b"},
    }


DIES = """
try:
    {}["first"]
except KeyError as first:
    raise OSError("second") from first
"""


def chained_traceback() -> str:
    """What Python prints of an exception that another one led to."""
    done = subprocess.run([sys.executable, "-c", DIES], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.rstrip("\n")


def test_a_plain_traceback_with_the_one_that_led_to_it_is_one_record_of_level_error() -> None:
    text = chained_traceback()
    lines = ['{"event": "before"}', *text.split("\n"), '{"event": "after"}']
    assert text.count("Traceback") == 2
    assert joined(lines) == [lines[0], text, lines[-1]]
    assert shape({"log": text})["level"] == "error"


def test_lines_that_are_no_traceback_stay_single() -> None:
    lines = ["one", "  two, indented", *COCKROACH, *KAFKA, "ValueError: alone", ""]
    assert joined(lines) == lines


def test_a_line_of_no_known_kind_keeps_its_words() -> None:
    assert first_parsed("some words") is None
    assert shape({"log": "some words"}) == {"message": "some words"}
