"""Between the plan's slots and devices, and between nodes and what FileFlux knows of them."""

import base64
import re


def vdev_disks(vdevs, device_by_slot):
    """The plan's vdevs as lists of disks, for zpool_layout."""
    return [vdev["beside"] + [device_by_slot[slot] for slot in vdev["slots"]] for vdev in vdevs]


def pool_disks(topology):
    """All disks of a pool, flat."""
    return [disk for vdev in topology["vdevs"] for disk in vdev["disks"]]


def nodes_that_take(ready, identities, intents):
    """Ids of nodes that answer 200, and that nobody drained or removed.

    `ready` and `identities` are results of loops over the same hosts (uri, slurp); `intents` is
    what `fileflux admin node list --json` lists. A node without an intent is active.
    """
    away = {one["node"] for one in intents if one["intent"] != "active"}
    found = []
    for answer, identity in zip(ready, identities, strict=True):
        node_id = base64.b64decode(identity.get("content", "")).decode().strip()
        if answer.get("status") == 200 and node_id and node_id not in away:
            found.append(node_id)
    return sorted(set(found))


def pool_metric(text, name, pool):
    """A gauge of one pool in Prometheus' text format; 0 where it is not told."""
    match = re.search(rf'^{name}\{{pool="{re.escape(pool)}"\}} (\S+)$', text, re.MULTILINE)
    return float(match.group(1)) if match else 0.0


class FilterModule:
    """Names of the filters."""

    def filters(self):
        ours = (vdev_disks, pool_disks, nodes_that_take, pool_metric)
        return {one.__name__: one for one in ours}
