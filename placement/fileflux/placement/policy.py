"""Which nodes hold a bundle together: replica sets with their reasons. Pure and deterministic.

Weighted rendezvous hashing: in each set every node draws a score from a hash of its id and the
set's number, and the best scores win, one per failure domain. So a node that goes leaves only its
own sets, a node that comes enters some and displaces one node in each, and nothing else moves.
Domains are spread over at the highest level that has R members: sites, else racks, else hosts.
"""

import hashlib
import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from fileflux.core.ids import NodeId
from fileflux.core.model import StorageClass
from fileflux.events.schema import ReplicaSet
from fileflux.placement.membership import NodeView, usable

SMALL_SET_COUNT: Final = 16
"""Few sets, so that many small uploads share a bundle's fixed cost per set."""
LARGE_SET_COUNT: Final = 256
"""Many sets, so that large uploads spread evenly."""

FREE_STEP: Final = math.sqrt(2)
"""Free space counts in steps of this factor: less would change the map every second."""
LOAD_STEPS: Final = ((64, 1.0), (256, 0.7), (1024, 0.4))
"""Bundles waiting on a node → the share of its weight that is left."""
LOADED_SHARE: Final = 0.15

_WORDS: Final = struct.Struct(">8Q")


def replica_sets(
    nodes: Sequence[NodeView], storage_class: StorageClass, count: int, seed: str
) -> tuple[ReplicaSet, ...]:
    """Return `count` sets of R distinct usable nodes each; none when fewer than W are usable.

    With fewer than R usable nodes the sets hold what there is, and say so. `seed` separates
    classes and sizes, so that they do not share their hot nodes.
    """
    candidates = usable(nodes)
    if len(candidates) < storage_class.quorum:
        return ()
    if len(candidates) < storage_class.replicas:
        there = tuple(sorted(node.node_id for node in candidates))
        return (ReplicaSet(there, _why_fewer(nodes, storage_class)),) * count
    domains = _domains(candidates, storage_class.replicas)
    ranks = _ranks(candidates, count, seed)
    return tuple(_one_set(ranked, domains, storage_class.replicas) for ranked in ranks)


def effective_weight(node: NodeView) -> float:
    """Return a node's share: the operators' weight by its free space by what its load leaves."""
    steps = round(math.log(max(1, node.free_bytes), FREE_STEP))
    share = next((left for limit, left in LOAD_STEPS if node.load < limit), LOADED_SHARE)
    return node.weight * FREE_STEP**steps * share


def _domains(candidates: Sequence[NodeView], replicas: int) -> dict[NodeId, str]:
    """Return each node's domain at the highest level that has R domains.

    The node itself is the deepest level, so R nodes always have one.
    """
    paths = {n.node_id: [*filter(None, n.domain.split("/")), n.node_id] for n in candidates}
    for level in range(1, max(map(len, paths.values())) + 1):
        domains = {node_id: "/".join(path[:level]) for node_id, path in paths.items()}
        if len(set(domains.values())) >= replicas:
            break
    return domains


def _ranks(candidates: Sequence[NodeView], count: int, seed: str) -> Iterator[list[NodeId]]:
    """Yield for each set all candidates, the best first."""
    weighted = [
        (node.node_id, effective_weight(node), _draws(seed, count, node.node_id))
        for node in sorted(candidates, key=lambda node: node.node_id)
    ]
    for number in range(count):
        scored = [(weight * draws[number], node_id) for node_id, weight, draws in weighted]
        scored.sort(reverse=True)
        yield [node_id for _, node_id in scored]


@lru_cache(maxsize=65_536)
def _draws(seed: str, count: int, node_id: NodeId) -> "array[float]":
    """Return what a node draws in each set: -1 / ln(u), u in (0, 1) from a hash.

    Weight times this is its score: the winner is drawn with a chance that is its weight's share.
    """
    draws = array("d")
    for block in range((count + 7) // 8):
        digest = hashlib.blake2b(f"{seed}/{block}/{node_id}".encode()).digest()
        draws.extend(-1 / math.log((word + 0.5) / 2**64) for word in _WORDS.unpack(digest))
    return draws[:count]


def _one_set(ranked: Sequence[NodeId], domains: dict[NodeId, str], replicas: int) -> ReplicaSet:
    chosen: dict[str, NodeId] = {}
    for node_id in ranked:
        chosen.setdefault(domains[node_id], node_id)
        if len(chosen) == replicas:
            break
    count, example = len(set(domains.values())), next(iter(chosen))
    reason = f"{replicas} of {count} domains like {example}, by free space and load"
    return ReplicaSet(tuple(chosen.values()), reason)


def _why_fewer(nodes: Sequence[NodeView], storage_class: StorageClass) -> str:
    unusable = sorted((n for n in nodes if n.problem), key=lambda node: node.node_id)
    named = ", ".join(f"{node.node_id} is {node.problem}" for node in unusable[:3])
    more = f" and {len(unusable) - 3} more" if len(unusable) > 3 else ""
    count = len(nodes) - len(unusable)
    because = f": {named}{more}" if named else ""
    return f"only {count} of {storage_class.replicas} nodes usable{because}"
