"""Print what an environment costs a month at list prices, as the table of terraform/README.md.

    python tools/cloud_costs.py

Quantities are those of terraform/environments; what depends on the load is an assumption and says
so. Prices are of us-east-1; other regions cost up to a fifth more. No price is asked for online.
"""

from dataclasses import dataclass
from typing import Final

HOURS: Final = 730
"""Of a month, as AWS counts."""
READ_ON: Final = "2026-12-01"
"""When the sources were looked up, in stored copies of these pages."""
ZONES: Final = 3
ENDPOINTS: Final = 12


@dataclass(frozen=True)
class Price:
    """US dollars for one unit, and who says so."""

    dollars: float
    source: str

    def month(self) -> float:
        """Return what a unit that is paid by the hour costs in a month."""
        return self.dollars * HOURS


MEMORY: Final = "from memory, not verified"
PRICES: Final = {
    "EKS control plane": Price(0.10, "projecthelena.com, AWS bill breakdown 2026"),
    "Fargate vCPU": Price(0.04048, "fortem.dev, Fargate pricing 2026"),
    "Fargate GB": Price(0.004445, "fortem.dev, Fargate pricing 2026"),
    "NAT gateway": Price(0.045, "zacfukuda.com, 2026-06-01"),
    "interface endpoint": Price(0.01, "zacfukuda.com, 2026-06-01"),
    "public IPv4 address": Price(0.005, "factualminds.com, 2026-06-13"),
    "network load balancer": Price(0.0225, "clustercost.com, 2025"),
    "m6i.large": Price(0.096, MEMORY),
    "m6i.xlarge": Price(0.192, MEMORY),
    "m6i.2xlarge": Price(0.384, MEMORY),
    "t3.micro": Price(0.0104, MEMORY),
    "gp3 GiB": Price(0.08, "AWS's agent-toolkit-for-aws, EBS optimization, early 2026"),
    "gp3 IOPS above 3,000": Price(0.005, MEMORY),
    "gp3 MiB/s above 125": Price(0.04, MEMORY),
    "KMS key": Price(1.00, "fnox.jdx.dev, AWS KMS"),
    "secret": Price(0.40, "aws.amazon.com/secrets-manager/pricing, transcribed 2026-09-20"),
    "log GB": Price(0.50, "fortem.dev, Fargate pricing 2026"),
}


@dataclass(frozen=True)
class Environment:
    """What terraform/environments/NAME asks for, and what the load is assumed to be."""

    nat_gateways: int
    nodes_per_zone: int
    instance: str
    volume_gib: int
    iops_more: int
    throughput_more: int
    stateless: tuple[int, str]
    log_gb: int


ENVIRONMENTS: Final = {
    "dev": Environment(1, 1, "m6i.large", 50, 0, 0, (2, "m6i.xlarge"), 10),
    "prod": Environment(3, 2, "m6i.2xlarge", 1000, 3000, 125, (3, "m6i.2xlarge"), 200),
}


def costs(one: Environment) -> dict[str, float]:
    """Return US dollars a month for each row of the table."""
    nodes = one.nodes_per_zone * ZONES
    hosts, kind = one.stateless
    volume = one.volume_gib * _unit("gp3 GiB") + one.iops_more * _unit("gp3 IOPS above 3,000")
    volume += one.throughput_more * _unit("gp3 MiB/s above 125")
    return {
        "EKS control plane": _hourly("EKS control plane"),
        "Fargate: two Karpenter pods of 1 vCPU, 2 GB": 2
        * (_hourly("Fargate vCPU") + 2 * _hourly("Fargate GB")),
        "NAT gateways": one.nat_gateways * _hourly("NAT gateway"),
        "interface endpoints, 12 in 3 zones": ENDPOINTS * ZONES * _hourly("interface endpoint"),
        "network load balancer": _hourly("network load balancer"),
        "public addresses: NAT, load balancer": (one.nat_gateways + ZONES)
        * _hourly("public IPv4 address"),
        "storage nodes": nodes * (_hourly(one.instance) + 50 * _unit("gp3 GiB")),
        "their data volumes, a mirror each": nodes * 2 * volume,
        "hosts of stateless pods and the database (assumed, on demand)": hosts * _hourly(kind),
        "bastion": _hourly("t3.micro") + 10 * _unit("gp3 GiB"),
        "KMS keys (5), secrets (6)": 5 * _unit("KMS key") + 6 * _unit("secret"),
        "CloudWatch Logs (assumed)": one.log_gb * _unit("log GB"),
    }


def table() -> str:
    """Return the Markdown table of all environments with its totals."""
    columns = {name: costs(one) for name, one in ENVIRONMENTS.items()}
    names = list(columns)
    lines = ["| US dollars a month | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row in columns[names[0]]:
        lines.append(f"| {row} | " + " | ".join(f"{columns[n][row]:,.0f}" for n in names) + " |")
    totals = [f"**{sum(columns[name].values()):,.0f}**" for name in names]
    return "\n".join([*lines, "| **together** | " + " | ".join(totals) + " |"])


def sources() -> str:
    """Return the Markdown table of prices and where each is from."""
    lines = ["| price | US dollars | source |", "|---|---:|---|"]
    lines += [f"| {name} | {one.dollars:g} | {one.source} |" for name, one in PRICES.items()]
    return "\n".join(lines)


def _unit(name: str) -> float:
    return PRICES[name].dollars


def _hourly(name: str) -> float:
    return PRICES[name].month()


if __name__ == "__main__":
    print(f"{table()}\n\nPrices, looked up on {READ_ON}:\n\n{sources()}")
