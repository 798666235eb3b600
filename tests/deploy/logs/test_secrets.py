"""No secret gets past the filter, however a hostile or careless line dresses it."""

import json
import time
from typing import Any

import pytest
from tests.deploy.logs.fluent_bit import CONFIG, Lua

HIDDEN = "[redacted]"
S = "s3cr3tV4lue"
redact = Lua("redact")

LINES = [
    f"Authorization: AWS4-HMAC-SHA256 Credential={S}/2026/s3, SignedHeaders=host, Signature={S}",
    f"AUTHORIZATION:{S} {S}",
    f"{{'Authorization': 'Basic {S}'}}",
    f"(b'authorization', b'AWS AKIAEXAMPLE:{S}=')",
    f"sent with Bearer {S}.{S}-_{S} to nobody",
    f"GET /b/k?X-Amz-Signature={S}&x=1 HTTP/1.1",
    f"GET /b/k?x-amz-signature={S}",
    f"/b/k?AWSAccessKeyId={S}&Signature={S}%2B&Expires=1",
    f"/b?X-Amz-Security-Token={S}&a=b",
    f"redirect=%2Fb%3FX-Amz-Signature%3D{S}%26a",
    f"postgresql://fileflux:{S}@db:26257/fileflux?sslmode=verify-full",
    f"DATABASE_URL=postgres+asyncpg://u:{S}/with@signs:{S}@db/x",
    f"DATABASE_URL='postgresql://u:{S}@db/x'",
    f"https://user:{S}@receiver.example/hook",
    f"KAFKA_SASL_PASSWORD={S}",
    f"export FILEFLUX_MASTER_KEY='{S} {S}'",
    f'FILEFLUX_CLUSTER_SECRET="{S}"',
    f"FILEFLUX_ROOT_SECRET_KEY: {S}",
    f'{{"password": "{S} with blanks", "user": "kept"}}',
    f'{{\\"secret_key\\":\\"{S}\\"}}',
    f"Settings(password='{S}', user='kept')",
    f"aws_secret_access_key = {S}",
    f"Set-Cookie: session={S}; Path=/",
    f"the secret is whsec_{S}+/= now",
    f"X-FileFlux-Signature: {S}",
    f"-----BEGIN EC PRIVATE KEY-----\n{S}\n-----END EC PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{S}",
    f"-----BEGIN A PRIVATE KEY-----\n-----END A PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n{S}",
    f"a line\npassword={S}\r\nanother",
    f"api-key={S}",
]


@pytest.mark.parametrize("line", LINES)
def test_a_secret_in_a_text_is_hidden(line: str) -> None:
    kept = redact({"message": line})["message"]
    assert S not in kept
    assert HIDDEN in kept


@pytest.mark.parametrize("line", LINES)
def test_a_secret_deep_in_a_record_is_hidden(line: str) -> None:
    record = {"fileflux": {"causes": ["stays", line], line: 1}, "message": "stays"}
    kept = json.dumps(redact(record))
    assert S not in kept
    assert kept.count("stays") == 2


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Authorization", "x-amz-signature", "secret_key", "X-Amz-Security-Token"),
        *("KAFKA_SASL_PASSWORD", "FILEFLUX_MASTER_KEY", "DATABASE_URL", "set-cookie"),
    ],
)
def test_a_field_of_a_secrets_name_is_hidden_whole(name: str) -> None:
    for value in (S, 5, {"a": S}, [S]):
        assert redact({"fileflux": {name: value}}) == {"fileflux": {name: HIDDEN}}


@pytest.mark.parametrize(
    "record",
    [
        {"message": "the node serves", "fileflux": {"epoch": 3, "ports": {"node": 9200}}},
        {"message": "a webhook's secret was rotated", "level": "info"},
        {"message": "GET http://host:9000/b/k@v2 403 SignatureDoesNotMatch"},
        {"message": "https://host:9000/a?list-type=2&continuation-token=abc"},
        {"fileflux": {"access_key": "AKIAEXAMPLE", "key": "photos/a.jpg"}},
        {"message": "the basics: 3 disks", "causes": ["one", "two"], "n": 1.5, "flag": True},
    ],
)
def test_what_is_no_secret_stays_as_it_is(record: dict[str, Any]) -> None:
    assert redact(record) == record


def test_a_record_deeper_than_anybody_looks_is_cut_and_not_passed_on() -> None:
    record: dict[str, Any] = {"deep": S}
    for _ in range(40):
        record = {"a": record}
    assert S not in json.dumps(redact(record))


def test_a_record_that_breaks_the_filter_does_not_pass_untouched() -> None:
    """Fluent Bit would send it on as it came."""
    broken = Lua("redact")
    broken._lua.execute("string.lower = function() error('broken') end")
    kept = broken({"message": S})
    assert S not in json.dumps(kept)
    assert kept["level"] == "error"


@pytest.mark.parametrize(
    "hostile", ["password", "://a:", "authorization:", "a://", "-----BEGIN A "]
)
def test_a_hostile_mebibyte_costs_no_time_that_matters(hostile: str) -> None:
    """Patterns go back and forth on such; lines that came meanwhile wait."""
    begun = time.process_time()
    kept = redact({"message": hostile * ((1 << 20) // len(hostile))})
    assert time.process_time() - begun < 2
    assert len(kept["message"]) < 1 << 17


def test_a_long_line_is_cut_between_two_characters() -> None:
    kept = redact({"message": "a" + "é" * 5000})["message"]
    assert kept.startswith("aé")
    assert kept.endswith("é [cut]")


def test_it_is_the_last_filter_and_sees_every_record() -> None:
    last = CONFIG["pipeline"]["filters"][-1]
    assert (last["name"], last["match"], last["call"]) == ("lua", "*", "redact")
