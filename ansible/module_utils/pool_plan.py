"""What is missing between a pool as it is and as it shall be. Pure: nothing is asked or changed."""

from ansible.module_utils.volume_plan import volume_of
from ansible.module_utils.zpool import sides, spare_disks


def expand_plan(topology, volumes, wanted):
    """Return slots to fill, volumes to grow, refusals, and lines for the person.

    `topology` is zpool_info's; `volumes` the node's, of ebs_volumes_info; `wanted` has
    name, kind, width, vdevs, size_gib (0: volumes keep their size).
    """
    have = topology["vdevs"] if topology else []
    refusals = _refusals(topology, have, wanted)
    new = [] if refusals else [_new_vdev(n, wanted) for n in range(len(have), wanted["vdevs"])]
    more = [] if refusals else [v for n, one in enumerate(have) for v in _sides(n, one, wanted)]
    grow = [] if refusals else _to_grow(have, volumes, wanted)
    room = topology["expandable_bytes"] if topology and not refusals else 0
    plan = {"vdevs": more + new, "grow": grow, "refusals": refusals, "room": room}
    plan["slots"] = [slot for vdev in plan["vdevs"] for slot in vdev["slots"]]
    plan["lines"] = _lines(plan, wanted)
    return plan


def _refusals(topology, have, wanted):
    kind, width = wanted["kind"], wanted["width"]
    told = []
    if kind not in ("mirror", "raidz1", "raidz2", "raidz3"):
        told.append(f"{kind} has no redundancy, or is unknown: mirror, raidz1, raidz2 or raidz3")
    elif width <= max(1, spare_disks(kind, 2)):
        told.append(f"a {kind} of {width} has no redundancy or no data")
    if not have:
        return told
    if topology["state"] != "ONLINE" or topology["is_resilvering"]:
        told.append(f"the pool is {topology['state']} ({topology['scan']}): repair or wait first")
    if len(have) > wanted["vdevs"]:
        told.append(f"the pool has {len(have)} vdevs, {wanted['vdevs']} are asked: none is removed")
    for vdev in have:
        told += _refuse_vdev(vdev, kind, width)
    return told


def _refuse_vdev(vdev, kind, width):
    count = sides(vdev)
    if vdev["kind"] == "disk" and kind == "mirror":
        return []  # It becomes a mirror.
    if vdev["kind"] != kind:
        return [f"{vdev['name']} is {vdev['kind']}, not {kind}: a pool keeps one kind"]
    if count > width:
        return [f"{vdev['name']} has {count} disks, {width} are asked: that is less redundant"]
    if count < width and kind != "mirror":
        return [f"{vdev['name']} has {count} disks, {width} are asked: raidz does not widen"]
    return []


def _new_vdev(number, wanted):
    slots = [f"{number}-{side}" for side in range(wanted["width"])]
    return {"slots": slots, "beside": []}


def _sides(number, vdev, wanted):
    """Missing sides of a mirror that the pool has."""
    slots = [f"{number}-{side}" for side in range(sides(vdev), wanted["width"])]
    return [{"slots": slots, "beside": [vdev["disks"][0]["path"]]}] if slots else []


def _to_grow(have, volumes, wanted):
    """Only volumes in the pool: those of empty slots are made or grown with them."""
    size_by_id = {volume["id"]: volume["size"] for volume in volumes}
    used = [volume_of(disk["path"]) for vdev in have for disk in vdev["disks"]]
    return [
        {"volume_id": one, "from_gib": size_by_id[one]}
        for one in used
        if size_by_id.get(one, wanted["size_gib"]) < wanted["size_gib"]
    ]


def _lines(plan, wanted):
    lines = []
    for vdev in plan["vdevs"]:
        slots = ", ".join(vdev["slots"])
        if vdev["beside"]:
            lines.append(f"attach to {vdev['beside'][0]}: volumes for slots {slots}")
        else:
            lines.append(f"add a {wanted['kind']} of new volumes for slots {slots}")
    for one in plan["grow"]:
        lines.append(f"grow {one['volume_id']}: {one['from_gib']} to {wanted['size_gib']} GiB")
    if plan["grow"] or plan["room"]:
        lines.append("let the pool use what its disks gained (zpool online -e)")
    return lines
