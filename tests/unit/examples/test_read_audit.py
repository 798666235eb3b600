"""The example that people copy refuses a broken chain, and the records are FileFlux's own."""

import hashlib
import runpy
from pathlib import Path
from typing import Any

import orjson
import pytest

from fileflux.events.audit import AuditMessage, to_cloudevent

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples/read_audit.py"))


def _messages(count: int) -> list[AuditMessage]:
    made, last_hash = [], bytes(32)
    for position in range(1, count + 1):
        event = {"id": f"{position}", "source": "/system", "type": "fileflux.x", "time": "now"}
        value = orjson.dumps({**event, "data": {"n": position}})
        made.append(
            to_cloudevent(
                value,
                position=position,
                stream=bytes(16),
                sequence=position,
                previous_hash=last_hash,
            )
        )
        last_hash = hashlib.sha256(last_hash + value).digest()
    return made


def test_a_whole_chain_is_accepted_and_a_repeated_record_skipped(example: dict[str, Any]) -> None:
    chain, messages = example["Chain"](), _messages(3)

    assert [chain.accept(one.headers, one.value) for one in messages] == [True] * 3
    assert chain.accept(messages[1].headers, messages[1].value) is False


def test_a_missing_record_is_an_error(example: dict[str, Any]) -> None:
    chain, messages = example["Chain"](), _messages(3)
    chain.accept(messages[0].headers, messages[0].value)

    with pytest.raises(example["ChainBroken"]):
        chain.accept(messages[2].headers, messages[2].value)


def test_a_changed_record_is_noticed_at_the_next_one(example: dict[str, Any]) -> None:
    chain, messages = example["Chain"](), _messages(2)
    chain.accept(messages[0].headers, messages[0].value + b" ")

    with pytest.raises(example["ChainBroken"]):
        chain.accept(messages[1].headers, messages[1].value)
