"""The judge itself: what it must find, planted one by one, without a cluster."""

import time
from collections import Counter

import pytest
from tests.fault.epoch import Epoch, Listing
from tests.fault.oracle import DELETION, Judgement, audit_problems, judge_keys, listing_problems
from tests.model.history import ABSENT, Operation

pytestmark = pytest.mark.fault
KEY = "e/key"


def _epoch() -> Epoch:
    return Epoch("e")


def _did(
    epoch: Epoch, kind: str, value: str, begin: float, end: float, outcome: str = "ok"
) -> Operation:
    one = epoch.history.call(0, kind, KEY, at_s=begin, value=value)
    epoch.history.returned(one, outcome, at_s=end)
    return one


def _problems(epoch: Epoch) -> list[str]:
    judged = Judgement([])
    judge_keys(epoch, judged)
    return judged.problems


def test_a_history_that_is_well_is_not_complained_about() -> None:
    epoch = _epoch()
    _did(epoch, "write", "a", 0, 1)
    _did(epoch, "write", "b", 2, 3, "unknown")
    _did(epoch, "read", "b", 4, 5)

    assert _problems(epoch) == []


@pytest.mark.parametrize("seen", [ABSENT, "other"])
def test_an_acknowledged_write_that_is_lost_or_changed_is_found(seen: str) -> None:
    epoch = _epoch()
    _did(epoch, "write", "a", 0, 1)
    _did(epoch, "read", seen, 2, 3)

    assert len(_problems(epoch)) == 1


def test_a_refused_write_that_applies_later_is_found() -> None:
    epoch = _epoch()
    _did(epoch, "write", "a", 0, 1, "fail")
    _did(epoch, "read", "a", 2, 3)

    assert len(_problems(epoch)) == 1


def test_a_refusal_while_the_database_was_down_may_apply_later() -> None:
    epoch = _epoch()
    now_s = time.monotonic()
    one = epoch.history.call(0, "write", KEY, at_s=now_s, value="a")
    epoch.refusal(one)
    epoch.outages.append((now_s - 1, now_s + 10))
    epoch.settle_doubts()
    _did(epoch, "read", "a", now_s + 20, now_s + 21)

    assert _problems(epoch) == []


def test_an_acknowledged_key_that_is_not_listed_is_found() -> None:
    epoch = _epoch()
    _did(epoch, "write", "a", 0, 1)
    empty = Listing(2, 3, {}, is_ordered=True)

    assert listing_problems(empty, epoch.history.by_key()) == [f"{KEY} is not listed"]


def test_a_key_deleted_before_and_listed_still_is_found() -> None:
    epoch = _epoch()
    _did(epoch, "write", "a", 0, 1)
    _did(epoch, "delete", ABSENT, 2, 3)
    stale = Listing(4, 5, {KEY: "tag"}, is_ordered=True)

    assert len(listing_problems(stale, epoch.history.by_key())) == 1


@pytest.mark.parametrize("delete", [(1.5, 2.5), (2.5, 2.6)])
def test_a_key_that_is_deleted_meanwhile_may_be_listed_or_not(delete: tuple[float, float]) -> None:
    epoch = _epoch()
    _did(epoch, "write", "a", 0, 1)
    _did(epoch, "delete", ABSENT, *delete)

    for found in ({}, {KEY: "tag"}):
        listing = Listing(2, 3, found, is_ordered=True)
        assert listing_problems(listing, epoch.history.by_key()) == []


@pytest.mark.parametrize(
    ("outcome", "records", "is_well"),
    [
        ("ok", 0, False),
        ("ok", 1, True),
        ("ok", 2, False),
        ("unknown", 0, True),
        ("unknown", 1, True),
        ("unknown", 2, False),
        ("fail", 0, True),
        ("fail", 1, False),
    ],
)
def test_one_record_for_what_was_acknowledged_none_for_what_was_refused(
    outcome: str, records: int, is_well: bool
) -> None:
    epoch = _epoch()
    epoch.etags["tag"] = "a"
    _did(epoch, "write", "a", 0, 1, outcome)

    problems = audit_problems(epoch, Counter({(KEY, "tag"): records}))

    assert (problems == []) == is_well


def test_a_deletion_that_nobody_asked_for_is_found() -> None:
    assert len(audit_problems(_epoch(), Counter({(KEY, DELETION): 1}))) == 1
