"""Which commands bring a pool from what it is to what is asked, and which requests are refused."""

from ansible.module_utils.zpool import (
    PoolProblem,
    refuse_unhealthy,
    refuse_weaker,
    spare_disks,
    vdev_with,
)


def commands_for(topology, asked):
    """Return the argument lists, in order, that make the pool as asked. Raise PoolProblem."""
    name, kind, vdevs = asked["name"], asked["kind"], asked["vdevs"]
    given = [disk for disks in vdevs for disk in disks]
    if len(set(given)) != len(given):
        raise PoolProblem("a disk is named twice")
    if topology is None:
        return [_create(asked)]
    made = [one for disks in vdevs for one in _grow(topology, name, kind, disks)]
    if made:
        refuse_unhealthy(topology)
    return made


def _create(asked):
    name, kind = asked["name"], asked["kind"]
    if not asked["create"]:
        raise PoolProblem(f"there is no pool {name}: run create_pool.yml")
    command = ["zpool", "create"]
    for flag, key in (("-o", "pool_properties"), ("-O", "dataset_properties")):
        command += [word for item in _pairs(asked[key]) for word in (flag, item)]
    command.append(name)
    widths = {len(disks) for disks in asked["vdevs"]}
    if len(widths) != 1 or min(widths) <= max(1, spare_disks(kind, 2)):
        raise PoolProblem(f"a {kind} needs more disks, and each vdev as many as the others")
    for disks in asked["vdevs"]:
        command += [kind, *disks]
    return command


def _pairs(properties):
    return [f"{key}={_word(value)}" for key, value in properties.items()]


def _word(value):
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _grow(topology, name, kind, disks):
    """Commands for one vdev: none if it is there, attach for missing sides, or add."""
    homes = [vdev_with(topology, disk) for disk in disks]
    known = [home for home in homes if home is not None]
    missing = [disk for disk, home in zip(disks, homes, strict=False) if home is None]
    if not missing and len({home["name"] for home in known}) == 1:
        return []
    if not known:
        refuse_weaker(topology, kind, len(disks))
        return [["zpool", "add", name, kind, *disks]]
    if kind != "mirror" or len({home["name"] for home in known}) != 1:
        raise PoolProblem(f"{', '.join(disks)} are not one vdev of {name}, and cannot become one")
    if known[0]["kind"] not in ("mirror", "disk"):
        raise PoolProblem(f"{known[0]['name']} is no mirror: no side can be attached")
    beside = next(disk for disk, home in zip(disks, homes, strict=False) if home is not None)
    return [["zpool", "attach", name, beside, disk] for disk in missing]


def replace_command(topology, name, old, new):
    """Return the command, or None when the new disk is in. Raise PoolProblem."""
    if topology is None:
        raise PoolProblem(f"there is no pool {name}")
    if vdev_with(topology, new):
        return None
    if vdev_with(topology, old) is None:
        raise PoolProblem(f"{old} is not in {name}, nor is {new}: look at `zpool status {name}`")
    if topology["is_resilvering"]:
        raise PoolProblem(f"{name} is resilvering: one disk after the other")
    return ["zpool", "replace", name, old, new]
