"""What one seed does: its topology, its load and its faults. Swarm testing.

Each seed switches a random subset of the faults on, with random rates: a mix of everything hides
what only a few faults together, often, would show.

Groce and others: Swarm Testing (2012).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from fileflux.core.model import StorageClass

FAULTS = (
    "broker drops",
    "broker doubles",
    "broker reorders",
    "broker delays",
    "broker refuses",
    "broker down",
    "broker wiped",
    "broker tail lost",
    "database 40001",
    "database ambiguous",
    "database down",
    "database slow",
    "database clock steps",
    "ingest killed",
    "node killed",
    "materializer killed",
    "sequencer killed",
    "placement killed",
    "killed at a failpoint",
    "ingest paused",
    "node paused",
    "materializer paused",
    "sequencer paused",
    "node full",
    "bundle damaged",
    "staged damaged",
    "staged lost",
    "stray commits",
    "messages lost",
    "messages hang",
    "bits flip",
    "network slow",
    "network cut",
    "clients leave",
    "bodies fail",
    "clocks apart",
)
SHARE_ON = 0.3
THREE_TWO = StorageClass("standard", 3, 2)


@dataclass(slots=True)
class Plan:
    """`rates`: fault → how much of it, 0 to 1; those that are on."""

    seed: int
    rates: dict[str, float] = field(default_factory=dict)
    nodes: int = 4
    ingests: int = 1
    materializers: int = 1
    sequencers: int = 1
    placements: int = 1
    fixed_map: bool = False
    storage_class: StorageClass = THREE_TWO
    clients: int = 4
    keys: int = 4
    chaos_s: float = 20.0
    think_s: float = 0.3
    checks_staging: bool = False

    def rate(self, fault: str) -> float:
        return self.rates.get(fault, 0.0)


def plan_of(seed: int, faults: Sequence[str] = ()) -> Plan:
    """Return the plan of a seed: always the same one. `faults`: on in any case, at their most."""
    rng = random.Random(f"plan/{seed}")
    share = rng.choice((0.0, SHARE_ON, SHARE_ON, SHARE_ON, 0.6)) if seed % 16 else 0.0
    rates = {fault: rng.uniform(0.05, 1.0) for fault in FAULTS if rng.random() < share}
    rates.update(dict.fromkeys(faults, 1.0))
    return Plan(
        seed=seed,
        rates=rates,
        nodes=rng.choice((3, 4, 5)),
        ingests=rng.choice((1, 1, 2)),
        materializers=rng.choice((1, 1, 2)),
        sequencers=rng.choice((1, 1, 2)),
        placements=rng.choice((1, 1, 2)),
        fixed_map=rng.random() < 0.3,
        storage_class=rng.choice(
            (
                THREE_TWO,
                THREE_TWO,
                StorageClass("standard", 2, 1),
                StorageClass("standard", 3, 3),
            )
        ),
        clients=rng.choice((2, 4, 6)),
        keys=rng.choice((2, 3, 5)),
        chaos_s=rng.choice((rng.uniform(6, 25), rng.uniform(6, 25), rng.uniform(30, 70))),
        think_s=rng.choice((0.05, 0.3, 0.6)),
        checks_staging=rng.random() < 0.15,
    )
