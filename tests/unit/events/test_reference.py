"""The page about events is made from the code."""

from pathlib import Path

from fileflux.events.reference import render

PAGE = Path(__file__).parents[3] / "docs/reference/events.md"


def test_the_reference_page_is_current() -> None:
    """Otherwise: python -m fileflux.events.reference > docs/reference/events.md"""
    assert PAGE.read_text() == render()
