#!/usr/bin/python
"""Compare the node's pool with what is wanted; say what is missing, or why it is refused."""

DOCUMENTATION = r"""
module: pool_plan
short_description: Plan the growth of a ZFS pool
description:
  - Reads the pool and says which volumes and vdevs are missing. Changes nothing.
  - Fails with every reason when the wish would leave the pool less redundant than it is.
options:
  name:
    description: Name of the pool.
    type: str
    required: true
  kind:
    description: Kind of each vdev.
    type: str
    required: true
  width:
    description: Disks in each vdev.
    type: int
    required: true
  vdevs:
    description: How many vdevs the pool shall have.
    type: int
    required: true
  size_gib:
    description: Size of each volume; 0 leaves those that exist.
    type: int
    default: 0
  volumes:
    description: The node's volumes, as ebs_volumes_info lists them.
    type: list
    elements: dict
    default: []
author: FileFlux
"""
EXAMPLES = r"""
- name: Plan
  pool_plan:
    name: fileflux
    kind: mirror
    width: 2
    vdevs: 2
"""
RETURN = r"""
plan:
  description: vdevs and slots to fill, volumes to grow, lines for the person.
  type: dict
  returned: always
topology:
  description: As zpool_info gives it.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pool_plan import expand_plan
from ansible.module_utils.zpool import PoolProblem, Zpool

OPTIONS = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "width": {"type": "int", "required": True},
    "vdevs": {"type": "int", "required": True},
    "size_gib": {"type": "int", "default": 0},
    "volumes": {"type": "list", "elements": "dict", "default": []},
}


def main():
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        pool = Zpool(module, module.params["name"])
        topology = pool.topology()
        if topology:
            topology["expandable_bytes"] = pool.expandable_bytes(topology)
    except PoolProblem as problem:
        module.fail_json(msg=str(problem))
    plan = expand_plan(topology, module.params["volumes"], module.params)
    if plan["refusals"]:
        module.fail_json(msg="refused: " + "; ".join(plan["refusals"]))
    module.exit_json(changed=False, plan=plan, topology=topology)


if __name__ == "__main__":
    main()
