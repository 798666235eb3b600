"""What the pages about the cloud say agrees with the files and with what makes their figures."""

import re
from typing import Final

from tests.deploy.cloud.hcl import ROOT, TERRAFORM, modules
from tools.cloud_costs import ENVIRONMENTS, PRICES, costs, sources, table

README: Final = (TERRAFORM / "README.md").read_text()
NETWORK: Final = (ROOT / "docs/explanation/network.md").read_text()


def test_the_cost_table_is_what_the_tool_prints() -> None:
    assert table() in README
    assert sources() in README


def test_a_gateway_more_costs_what_a_gateway_costs() -> None:
    dev, prod = (costs(ENVIRONMENTS[name])["NAT gateways"] for name in ("dev", "prod"))
    assert round(dev, 2) == round(730 * 0.045, 2)
    assert prod == 3 * dev


def test_every_price_has_a_source_or_says_that_it_has_none() -> None:
    assert [name for name, one in PRICES.items() if not one.source or one.dollars <= 0] == []
    assert any("not verified" in one.source for one in PRICES.values())


def test_the_readmes_diagram_has_every_module() -> None:
    diagram = README.split("```mermaid")[1].split("```")[0]
    callers = {"fileflux"}  # The module that calls the others is the box around them.
    named = {module.name for module in modules()} - callers
    assert [name for name in named if not re.search(rf"\b{name}\b", diagram)] == []


def test_the_network_page_names_the_ports_that_services_listen_on() -> None:
    """The same numbers as in the chart: 9000, 9300, 9200, 9134."""
    for port in ("9000", "9300", "9200", "9134", "26257", "9093", "443"):
        assert re.search(rf"\b{port}\b", NETWORK), port


def test_the_network_pages_ranges_are_those_of_the_module() -> None:
    text = (TERRAFORM / "modules/network/variables.tf").read_text()
    default = re.search(r'default\s+= "(10\.\d+\.0\.0/16)"', text)
    assert default
    assert default[1] in NETWORK
