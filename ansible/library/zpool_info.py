#!/usr/bin/python
"""Read a pool: its vdevs, health, scan, and the room that grown disks would give."""

DOCUMENTATION = r"""
module: zpool_info
short_description: Read the topology and the health of a ZFS pool
description:
  - Reads C(zpool status) and says what is in the pool. Changes nothing.
options:
  name:
    description: Name of the pool.
    type: str
    required: true
author: FileFlux
"""
EXAMPLES = r"""
- name: Read the pool
  zpool_info:
    name: fileflux
  register: pool
"""
RETURN = r"""
topology:
  description: State, scan, vdevs with disks, size in bytes; null when there is no such pool.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.zpool import PoolProblem, Zpool, redundancy


def main():
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}}, supports_check_mode=True
    )
    try:
        pool = Zpool(module, module.params["name"])
        topology = pool.topology()
        if topology:
            topology["redundancy"] = redundancy(topology)
            topology["expandable_bytes"] = pool.expandable_bytes(topology)
    except PoolProblem as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=False, topology=topology)


if __name__ == "__main__":
    main()
