#!/usr/bin/python
"""Let a pool use the room of disks that grew: `zpool online -e`."""

DOCUMENTATION = r"""
module: zpool_expand
short_description: Let a ZFS pool use disks that grew
description:
  - Waits until the node sees the disks in their new size, then runs C(zpool online -e) on each.
  - Does nothing when there is no room to gain. Refuses a pool that is not whole.
options:
  name:
    description: Name of the pool.
    type: str
    required: true
  minimum_bytes:
    description: Size that each disk must have on the node first; 0 waits for nothing.
    type: int
    default: 0
  timeout_s:
    description: How long to wait for that.
    type: int
    default: 120
  planned:
    description: In check mode, disks would have grown before.
    type: bool
    default: false
author: FileFlux
"""
EXAMPLES = r"""
- name: Use what the volumes gained
  zpool_expand:
    name: fileflux
"""
RETURN = r"""
gained_bytes:
  description: Room that the pool gains.
  type: int
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.zpool import PoolProblem, Zpool, refuse_unhealthy, size_of


def wait_for_size(disks, minimum, timeout_s):
    """Raise PoolProblem when a disk is still smaller at the end."""
    deadline = time.monotonic() + timeout_s
    while small := [disk for disk in disks if size_of(disk) < minimum]:
        if time.monotonic() > deadline:
            raise PoolProblem(f"the node still sees the old size of {', '.join(small)}")
        time.sleep(1)


def expand(pool, asked, check_mode):
    """Return the bytes gained; -1 when check mode cannot know them yet."""
    topology = pool.topology()
    if topology is None:
        raise PoolProblem(f"there is no pool {asked['name']}")
    if check_mode and asked["planned"]:
        return -1
    disks = [disk["path"] for vdev in topology["vdevs"] for disk in vdev["disks"]]
    if asked["minimum_bytes"]:
        wait_for_size(disks, asked["minimum_bytes"], asked["timeout_s"])
    gained = pool.expandable_bytes(topology)
    if gained:
        refuse_unhealthy(topology)
    for disk in disks if gained and not check_mode else ():
        pool.must("zpool", "online", "-e", asked["name"], disk)
    return gained


def main():
    spec = {
        "name": {"type": "str", "required": True},
        "minimum_bytes": {"type": "int", "default": 0},
        "timeout_s": {"type": "int", "default": 120},
        "planned": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        pool = Zpool(module, module.params["name"])
        gained = expand(pool, module.params, module.check_mode)
    except (PoolProblem, OSError) as problem:
        module.fail_json(msg=str(problem))
    after = f"zpool online -e {module.params['name']}\n" if gained else ""
    diff = {"before": "", "after": after}
    module.exit_json(changed=gained != 0, gained_bytes=gained, diff=diff)


if __name__ == "__main__":
    main()
