#!/usr/bin/python
"""Start a scrub when the last one is old."""

DOCUMENTATION = r"""
module: zpool_scrub
short_description: Start a scrub of a ZFS pool
description:
  - Starts C(zpool scrub) unless one runs, or the last one ended less than O(older_than_days) ago.
  - Refuses while a resilver runs.
options:
  name:
    description: Name of the pool.
    type: str
    required: true
  older_than_days:
    description: 0 starts one in any case.
    type: float
    default: 7
author: FileFlux
"""
EXAMPLES = r"""
- name: Scrub
  zpool_scrub:
    name: fileflux
"""
RETURN = r"""
is_due:
  description: Whether one was started, or would be.
  type: bool
  returned: always
age_days:
  description: Days since the last scrub ended; null when there was none.
  type: float
  returned: always
"""

import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.zpool import PoolProblem, Zpool

ENDED = re.compile(r"scrub (?:repaired|completed).* on \w+ (\w+ +\d+ [\d:]+ \d{4})")


def age_days(scan, now_s):
    """Days since the end of the last scrub that `zpool status` tells, or None."""
    match = ENDED.search(scan)
    if not match:
        return None
    ended = time.mktime(time.strptime(match.group(1), "%b %d %H:%M:%S %Y"))
    return (now_s - ended) / 86_400


def refuse_missing(topology, name):
    if topology is None or topology["is_resilvering"]:
        raise PoolProblem(f"{name} is not there, or resilvering")


def main():
    spec = {
        "name": {"type": "str", "required": True},
        "older_than_days": {"type": "float", "default": 7},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    asked = module.params
    try:
        pool = Zpool(module, asked["name"])
        topology = pool.topology()
        refuse_missing(topology, asked["name"])
        age = age_days(topology["scan"], time.time())
        is_due = age is None or age >= asked["older_than_days"]
        start = is_due and not topology["is_scrubbing"]
        if start and not module.check_mode:
            pool.must("zpool", "scrub", asked["name"])
    except PoolProblem as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=start, is_due=start, age_days=age)


if __name__ == "__main__":
    main()
