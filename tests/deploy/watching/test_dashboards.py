"""Every panel says what it shows and in which unit, and every dashboard can be found."""

import json
import re

import pytest
from tools.monitoring.boards import DASHBOARDS
from tools.monitoring.catalogue import known_metrics, names_in
from tools.monitoring.make import rules
from tools.monitoring.panel import WIDTH, Dashboard, Query


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_every_panel_has_a_title_a_sentence_a_unit_and_a_query(board: Dashboard) -> None:
    titles = [panel.title for panel in board.panels()]
    assert board.description.endswith(".")
    for panel in board.panels():
        assert panel.description.endswith("."), panel.title
        assert panel.unit
        assert panel.queries, panel.title
    assert board.name == "fileflux-slo" or len(set(titles)) == len(titles)


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_panels_do_not_lie_over_each_other(board: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board.as_json()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_and_dashboards_have_numbers_of_their_own() -> None:
    assert len({board.name for board in DASHBOARDS}) == len(DASHBOARDS)
    for board in DASHBOARDS:
        numbers = [panel["id"] for panel in board.as_json()["panels"]]
        assert len(set(numbers)) == len(numbers)
        json.dumps(board.as_json())


def test_what_the_code_measures_is_seen_somewhere() -> None:
    """A metric that neither a panel nor a rule reads is work for nothing: two thirds are read."""
    texts = [rule.expression for rule in rules()]
    texts += [query.expression for board in DASHBOARDS for query in _queries(board)]
    read = {_family(name) for text in texts for name, _ in names_in(text)}
    known = {_family(name) for name in known_metrics()}
    assert len(known - read) < len(known) / 3, sorted(known - read)


def _queries(board: Dashboard) -> list[Query]:
    return [query for panel in board.panels() for query in panel.queries]


def _family(name: str) -> str:
    return re.sub("_(bucket|sum|count)$", "", name)
