"""A topic's name, its one partition, its headers and keys are promised as its records are."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tools.channel_compatibility import problems

from fileflux.console.channel_promises import channel_promises

Change = Callable[[dict[str, Any]], Any]
ALLOWED: dict[str, Change] = {
    "nothing": lambda found: None,
    "another channel": lambda found: found.update(other={"address": "x", "messages": {}}),
    "another word for a key": lambda found: found["audit"]["messages"]["audit-record"][
        "key"
    ].update(description="A bucket."),
    "another optional header": lambda found: found["audit"]["messages"]["audit-record"]["headers"][
        "properties"
    ].update(ce_new={"type": "string"}),
}
BROKEN: dict[str, tuple[Change, str]] = {
    "a topic that is gone": (lambda found: found.pop("access"), "access was removed"),
    "a topic by another name": (
        lambda found: found["audit"].update(address="fileflux.audit2"),
        "the address was fileflux.audit and is fileflux.audit2",
    ),
    "an order that is lost": (
        lambda found: found["audit"].pop("partitions"),
        "the partitions was 1 and is None",
    ),
    "a message that is gone": (
        lambda found: found["webhook"]["messages"].pop("s3-notification"),
        "webhook/s3-notification was removed",
    ),
    "a header that is gone": (
        lambda found: found["audit"]["messages"]["audit-record"]["headers"]["properties"].pop(
            "ce_position"
        ),
        "headers: /ce_position was removed",
    ),
    "all headers gone": (
        lambda found: found["webhook"]["messages"]["webhook-data"].pop("headers"),
        "/webhook-id was removed",
    ),
    "another content type": (
        lambda found: found["events"]["messages"]["tenant-event"].update(contentType="text/plain"),
        "was application/json and is text/plain",
    ),
    "another key": (
        lambda found: found["audit"]["messages"]["audit-record"].pop("key"),
        "key: /: `type` was",
    ),
}


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED)
def test_a_change_that_no_consumer_notices_is_allowed(change: Change) -> None:
    changed = copy.deepcopy(channel_promises())
    change(changed)
    assert problems(channel_promises(), changed) == []


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN)
def test_what_a_consumer_would_look_for_in_vain_is_named(change: Change, said: str) -> None:
    changed = copy.deepcopy(channel_promises())
    change(changed)
    assert said in " ".join(problems(channel_promises(), changed))


def test_our_own_topics_are_not_promised() -> None:
    assert "audit" in channel_promises()
    assert not [name for name in channel_promises() if "seals" in name or "bundles" in name]
