"""The scale page was computed from the codec; a schema that grew makes it wrong."""

import re
from pathlib import Path

from tests.bench.scale import Load, map_bytes, measure_sizes

PAGE = Path(__file__).parents[3] / "docs/explanation/scale.md"
DRIFT = 0.1
"""More than a tenth: compute the page again with python -m tests.bench.scale."""


def test_a_node_costs_the_map_what_the_page_says() -> None:
    _, per_node = map_bytes(100)
    said = re.search(r"of which per node: B \| \d+ \| (\d+) \|", PAGE.read_text())

    assert said is not None
    assert abs(per_node - int(said[1])) <= DRIFT * int(said[1])


async def test_the_measured_sizes_are_still_those_of_the_page() -> None:
    sizes = await measure_sizes(Load())
    text = PAGE.read_text()

    for name, measured in (
        ("`NodeHeartbeat`", sizes.heartbeat),
        ("`BundleCommitted`", sizes.committed),
        ("`UploadsSealed` of 16 small objects", sizes.seal),
        ("an audit record of a PUT", sizes.audit_record),
    ):
        said = re.search(rf"\| {re.escape(name)} \| (\d+) \|", text)
        assert said is not None, name
        assert abs(measured - int(said[1])) <= DRIFT * int(said[1]), (name, measured)
