#!/usr/bin/python
"""Put a new disk in the place of another; ZFS lets the old one go when all is copied."""

DOCUMENTATION = r"""
module: zpool_replace
short_description: Replace a disk of a ZFS pool
description:
  - Starts C(zpool replace). A disk that is already replaced, or being replaced by the same new
    disk, is no change.
  - Refuses while another resilver runs, and a new disk that holds anything.
options:
  name:
    description: Name of the pool.
    type: str
    required: true
  old:
    description: Path of the disk as the pool knows it.
    type: str
    required: true
  new:
    description: Path of the new disk.
    type: str
    required: true
  planned:
    description: Check mode takes the new disk as attached.
    type: bool
    default: false
author: FileFlux
"""
EXAMPLES = r"""
- name: Replace a disk
  zpool_replace:
    name: fileflux
    old: /dev/disk/by-id/a
    new: /dev/disk/by-id/b
"""
RETURN = r"""
commands:
  description: What was run, or would be.
  type: list
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pool_commands import replace_command
from ansible.module_utils.zpool import PoolProblem, Zpool


def refuse_used(pool, disk):
    if held := pool.what_holds(disk):
        raise PoolProblem(f"{disk} holds {held}: no used disk is taken")


def main():
    text = {"type": "str", "required": True}
    planned = {"type": "bool", "default": False}
    spec = {"name": text, "old": text, "new": text, "planned": planned}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    asked = module.params
    try:
        pool = Zpool(module, asked["name"])
        command = replace_command(pool.topology(), asked["name"], asked["old"], asked["new"])
        if command and not (module.check_mode and asked["planned"]):
            refuse_used(pool, asked["new"])
        if command and not module.check_mode:
            pool.must(*command)
    except PoolProblem as problem:
        module.fail_json(msg=str(problem))
    lines = [" ".join(command)] if command else []
    diff = {"before": "", "after": "".join(f"{line}\n" for line in lines)}
    module.exit_json(changed=bool(lines), commands=lines, diff=diff)


if __name__ == "__main__":
    main()
