"""What is read only to be dropped is bounded, and read whole."""

import pytest

from fileflux.core.ids import UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.parts_budget import Limits, PartsBudget

A, B, C = (UploadId(bytes((number,)) * 16) for number in range(3))


def parts(count: int) -> Manifest:
    return Manifest(parts=tuple((number, 5) for number in range(1, count + 1)))


@pytest.fixture
def budget() -> PartsBudget:
    return PartsBudget(Limits(parts=10), always={C})


def test_contents_are_taken_while_they_fit(budget: PartsBudget) -> None:
    assert budget.take(A, parts(6))
    assert not budget.take(B, parts(5))
    assert budget.take(B, parts(4))
    assert not budget.take(UploadId(b"d" * 16), parts(1))


def test_a_content_is_taken_once(budget: PartsBudget) -> None:
    assert budget.take(A, parts(5))
    assert not budget.take(A, parts(5))
    assert budget.take(B, parts(5))


def test_what_was_left_behind_is_taken_whatever_its_size(budget: PartsBudget) -> None:
    assert budget.take(C, parts(10_000))
    assert budget.take(A, parts(10))


def test_content_without_parts_needs_none(budget: PartsBudget) -> None:
    assert not budget.take(A, Manifest())
    assert not budget.take(A, None)
