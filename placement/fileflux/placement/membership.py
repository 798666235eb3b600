"""Which nodes there are, and what each may be given: heartbeats and operators' intent. Pure.

A node is alive while it is heard, suspect after three missed heartbeats, lost after thirty seconds.
Silence is measured on the stream's own time, which stands still while nothing at all is read: after
a broker's outage it is the stream that was silent, not every node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.ids import NodeId
from fileflux.core.model import MIB
from fileflux.events.schema import MappedNode, NodeHeartbeat, PlacementDecided

ALIVE: Final = "alive"
SUSPECT: Final = "suspect"
LOST: Final = "lost"
DRAINING: Final = "draining"

INTENT_ACTIVE: Final = "active"
INTENT_DRAIN: Final = "drain"
INTENT_REMOVE: Final = "remove"
Intents = Mapping[NodeId, tuple[str, float]]
"""Node → (intent, weight). A node without an entry is active with weight 1."""

SUSPECT_AFTER_S: Final = 3.0
SUSPECT_AFTER_MANY_S: Final = 9.0
MANY_NODES: Final = 100
"""Above this many, nodes send a heartbeat every three seconds instead of every second."""
LOST_AFTER_S: Final = 30.0
FORGET_AFTER_S: Final = 7 * 86_400.0
STREAM_GAP_S_MAX: Final = 2.0
"""What one pause of the stream counts at most: less than makes a node suspect."""
NODES_MAX: Final = 10_000

FULL_BELOW_BYTES: Final = 64 * MIB
"""Room above the reserve for what is already on its way to the node."""
ROOM_AGAIN_BYTES: Final = 2 * FULL_BELOW_BYTES
USABLE_HEALTH: Final = frozenset({"ONLINE", "DEGRADED"})
DEGRADED_FACTOR: Final = 0.5
"""A pool that lost a disk has less to lose: it gets half the share."""
LOAD_SMOOTHING: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node as decisions see it. `problem`: why nothing new goes there; empty: it may.

    `weight`: the operators', halved for a degraded pool. `free_bytes`: above the node's reserve.
    `load`: bundles waiting to be durable, smoothed.
    """

    node_id: NodeId
    url: str
    domain: str
    state: str
    weight: float
    free_bytes: int
    load: float
    problem: str = ""


@dataclass(slots=True)
class _Known:
    """What was last heard of a node. `heard_s`: the stream's time."""

    url: str
    domain: str
    epoch: int
    heard_s: float
    free_bytes: int
    load: float
    health: str
    read_only: bool
    is_full: bool = False


class Membership:
    """Folds heartbeats. All times are seconds of the owner's monotonic clock."""

    def __init__(self, *, now_s: float) -> None:
        self._nodes: dict[NodeId, _Known] = {}
        self._stream_s = 0.0
        self._stream_read_at_s = now_s

    def seed(self, decided: PlacementDecided) -> None:
        """Add the nodes of the last map as if just heard: a new leader forgets nobody."""
        for node in decided.nodes:
            if node.node_id not in self._nodes:
                self._nodes[node.node_id] = _from_map(node, self._stream_s)

    def note_stream(self, now_s: float) -> None:
        """Something was read from the heartbeats' topic: its time goes on."""
        gap_s = max(0.0, now_s - self._stream_read_at_s)
        self._stream_s += min(gap_s, STREAM_GAP_S_MAX)
        self._stream_read_at_s = now_s

    def hear(self, heartbeat: NodeHeartbeat, now_s: float, *, is_history: bool = False) -> bool:
        """Take a heartbeat in; return whether it counts.

        One with an epoch that goes backwards does not: the dataset is an older copy of itself.
        `is_history`: sent before we listened, so it says what a node is, not that it lives.
        """
        self.note_stream(now_s)
        known = self._nodes.get(heartbeat.node_id)
        if known is not None and heartbeat.epoch < known.epoch:
            return False
        if known is None and len(self._nodes) >= NODES_MAX:
            return False
        unheard_s = known.heard_s if known is not None else self._stream_s - SUSPECT_AFTER_MANY_S
        heard_s = unheard_s if is_history else self._stream_s
        self._nodes[heartbeat.node_id] = _fold(known, heartbeat, heard_s)
        return True

    def nodes(self, now_s: float, intents: Intents) -> tuple[NodeView, ...]:
        """Return every node that is known, by id."""
        stream_s = self._stream_s + min(max(0.0, now_s - self._stream_read_at_s), STREAM_GAP_S_MAX)
        self._forget(stream_s, intents)
        suspect_after_s = SUSPECT_AFTER_MANY_S if len(self._nodes) > MANY_NODES else SUSPECT_AFTER_S
        return tuple(
            _view(
                node_id,
                known,
                silent_s=stream_s - known.heard_s,
                suspect_after_s=suspect_after_s,
                intent=intents.get(node_id, (INTENT_ACTIVE, 1.0)),
            )
            for node_id, known in sorted(self._nodes.items())
        )

    def _forget(self, stream_s: float, intents: Intents) -> None:
        """Drop whom the operators removed and who is gone, and who is gone for a week."""
        for node_id, known in list(self._nodes.items()):
            silent_s = stream_s - known.heard_s
            intent, _ = intents.get(node_id, (INTENT_ACTIVE, 1.0))
            is_removed = intent == INTENT_REMOVE and silent_s >= LOST_AFTER_S
            if is_removed or silent_s >= FORGET_AFTER_S:
                del self._nodes[node_id]


def _from_map(node: MappedNode, now_s: float) -> _Known:
    """What a map does not tell, the first heartbeat does."""
    return _Known(
        url=node.url,
        domain=node.domain,
        epoch=0,
        heard_s=now_s - (LOST_AFTER_S if node.state == LOST else 0.0),
        free_bytes=node.free_bytes,
        load=0.0,
        health="ONLINE",
        read_only=False,
        is_full=node.free_bytes < FULL_BELOW_BYTES,
    )


def _fold(known: _Known | None, heartbeat: NodeHeartbeat, heard_s: float) -> _Known:
    free_bytes = max(0, heartbeat.free_bytes - heartbeat.reserve_bytes)
    was_full = known is not None and known.is_full
    load_before = known.load if known is not None else float(heartbeat.load)
    return _Known(
        url=heartbeat.url,
        domain=heartbeat.domain,
        epoch=heartbeat.epoch,
        heard_s=heard_s,
        free_bytes=free_bytes,
        load=load_before + LOAD_SMOOTHING * (heartbeat.load - load_before),
        health=heartbeat.health,
        read_only=heartbeat.read_only,
        is_full=free_bytes < (ROOM_AGAIN_BYTES if was_full else FULL_BELOW_BYTES),
    )


def _view(
    node_id: NodeId,
    known: _Known,
    *,
    silent_s: float,
    suspect_after_s: float,
    intent: tuple[str, float],
) -> NodeView:
    wish, weight = intent
    state = _state(silent_s, suspect_after_s, wish)
    factor = 1.0 if known.health == "ONLINE" else DEGRADED_FACTOR
    return NodeView(
        node_id=node_id,
        url=known.url,
        domain=known.domain,
        state=state,
        weight=weight * factor,
        free_bytes=known.free_bytes,
        load=known.load,
        problem=_problem(state, known, weight),
    )


def _state(silent_s: float, suspect_after_s: float, wish: str) -> str:
    if silent_s >= LOST_AFTER_S:
        return LOST
    if silent_s >= suspect_after_s:
        return SUSPECT
    return ALIVE if wish == INTENT_ACTIVE else DRAINING


def _problem(state: str, known: _Known, weight: float) -> str:
    if state != ALIVE:
        return state
    if known.health not in USABLE_HEALTH:
        return f"its pool is {known.health[:20]}"
    if known.read_only:
        return "read-only"
    if known.is_full:
        return "full"
    return "" if weight > 0 else "of weight 0"


def usable(nodes: Iterable[NodeView]) -> list[NodeView]:
    """Return the nodes that may be given something new."""
    return [node for node in nodes if not node.problem]
