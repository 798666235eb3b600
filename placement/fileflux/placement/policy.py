"""Which nodes hold a bundle together: replica sets with their reasons. Pure and deterministic.

Weighted rendezvous hashing: in each set every node draws a score from a hash of its id and the
set's number, and the best scores win, one per failure domain. So a node that goes leaves only its
own sets, a node that comes enters some and displaces one node in each, and nothing else moves.
Domains are spread over at the highest level that has R members: sites, else racks, else hosts.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
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

_HASH_MAX: Final = 2**64


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
        made = tuple(sorted(node.node_id for node in candidates))
        return (ReplicaSet(made, _why_fewer(nodes, storage_class)),) * count
    domain_of, domain_count = _spread(candidates, storage_class.replicas)
    weights = {node.node_id: effective_weight(node) for node in candidates}
    return tuple(
        _one_set(
            candidates, weights, domain_of, domain_count, storage_class.replicas, f"{seed}/{n}"
        )
        for n in range(count)
    )


def effective_weight(node: NodeView) -> float:
    """Return a node's share: the operators' weight × free space × what its load leaves."""
    steps = round(math.log(max(1, node.free_bytes), FREE_STEP))
    share = next((left for limit, left in LOAD_STEPS if node.load < limit), LOADED_SHARE)
    return node.weight * FREE_STEP**steps * share


def _spread(candidates: Sequence[NodeView], replicas: int) -> tuple[Callable[[NodeView], str], int]:
    """Return the domain of a node at the highest level that has R domains, and their number."""
    deepest = max(len(_path(node)) for node in candidates)
    for level in range(1, deepest + 1):
        count = len({_prefix(node, level) for node in candidates})
        if count >= replicas:
            return (lambda node: _prefix(node, level)), count
    raise AssertionError("at the deepest level every node is a domain of its own")


def _path(node: NodeView) -> list[str]:
    return [*filter(None, node.domain.split("/")), node.node_id]


def _prefix(node: NodeView, level: int) -> str:
    return "/".join(_path(node)[:level])


def _one_set(
    candidates: Sequence[NodeView],
    weights: dict[NodeId, float],
    domain_of: Callable[[NodeView], str],
    domain_count: int,
    replicas: int,
    draw: str,
) -> ReplicaSet:
    ranked = sorted(
        candidates, key=lambda node: (-_score(draw, node.node_id, weights), node.node_id)
    )
    chosen: list[NodeId] = []
    domains: list[str] = []
    for node in ranked:
        if (domain := domain_of(node)) not in domains:
            chosen.append(node.node_id)
            domains.append(domain)
        if len(chosen) == replicas:
            break
    reason = f"{replicas} of {domain_count} domains like {domains[0]}, by free space and load"
    return ReplicaSet(tuple(chosen), reason)


def _score(draw: str, node_id: NodeId, weights: dict[NodeId, float]) -> float:
    """Weighted rendezvous: -w / ln(u), u uniform in (0, 1) from the hash."""
    digest = hashlib.blake2b(f"{draw}/{node_id}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 0.5) / _HASH_MAX
    return -weights[node_id] / math.log(uniform)


def _why_fewer(nodes: Sequence[NodeView], storage_class: StorageClass) -> str:
    unusable = [node for node in nodes if node.problem]
    named = ", ".join(f"{node.node_id} is {node.problem}" for node in unusable[:3])
    more = f" and {len(unusable) - 3} more" if len(unusable) > 3 else ""
    count = len(nodes) - len(unusable)
    because = f": {named}{more}" if named else ""
    return f"only {count} of {storage_class.replicas} nodes usable{because}"
