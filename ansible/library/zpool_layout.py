#!/usr/bin/python
"""Make a pool, give it more vdevs, give mirrors more sides; never make it less redundant."""

DOCUMENTATION = r"""
module: zpool_layout
short_description: Ensure that vdevs of given disks are in a ZFS pool
description:
  - Makes the pool if allowed, adds vdevs that are missing, attaches sides to mirrors.
  - Refuses a disk that holds anything, a vdev weaker than those that the pool has, another kind of
    vdev, and a pool that is not whole.
options:
  name:
    description: Name of the pool.
    type: str
    required: true
  kind:
    description: Kind of each vdev.
    type: str
    required: true
    choices: [mirror, raidz1, raidz2, raidz3]
  vdevs:
    description: One list of disks (paths) for each vdev.
    type: list
    elements: list
    required: true
  create:
    description: Whether the pool may be made; otherwise it must be there.
    type: bool
    default: false
  pool_properties:
    description: Given as C(-o) when the pool is made.
    type: dict
    default: {}
  dataset_properties:
    description: Given as C(-O) when the pool is made.
    type: dict
    default: {}
  planned:
    description: Disks that check mode takes as attached, as they would be in a real run.
    type: list
    elements: str
    default: []
author: FileFlux
"""
EXAMPLES = r"""
- name: Add a mirror
  zpool_layout:
    name: fileflux
    kind: mirror
    vdevs: [[/dev/disk/by-id/a, /dev/disk/by-id/b]]
"""
RETURN = r"""
commands:
  description: What was run, or would be.
  type: list
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pool_commands import commands_for
from ansible.module_utils.zpool import PoolProblem, Zpool, vdev_with

OPTIONS = {
    "name": {"type": "str", "required": True},
    "kind": {
        "type": "str",
        "required": True,
        "choices": ["mirror", "raidz1", "raidz2", "raidz3"],
    },
    "vdevs": {"type": "list", "elements": "list", "required": True},
    "create": {"type": "bool", "default": False},
    "pool_properties": {"type": "dict", "default": {}},
    "dataset_properties": {"type": "dict", "default": {}},
    "planned": {"type": "list", "elements": "str", "default": []},
}


def refuse_used(pool, commands, asked, check_mode):
    """Raise PoolProblem for a new disk that holds anything."""
    known = pool.topology()
    for disk in (disk for disks in asked["vdevs"] for disk in disks):
        is_new = commands and (known is None or vdev_with(known, disk) is None)
        if not is_new or (check_mode and disk in asked["planned"]):
            continue
        if held := pool.what_holds(disk):
            raise PoolProblem(
                f"{disk} holds {held}: no used disk is taken. If nobody needs it, empty it "
                "yourself (wipefs) and run this again"
            )


def main():
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        pool = Zpool(module, module.params["name"])
        commands = commands_for(pool.topology(), module.params)
        refuse_used(pool, commands, module.params, module.check_mode)
        for command in commands if not module.check_mode else ():
            pool.must(*command)
    except PoolProblem as problem:
        module.fail_json(msg=str(problem))
    lines = [" ".join(command) for command in commands]
    after = "".join(f"{line}\n" for line in lines)
    module.exit_json(changed=bool(lines), commands=lines, diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
