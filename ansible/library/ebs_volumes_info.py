#!/usr/bin/python
"""List the volumes of a node's pool. Runs where the cloud's keys are."""

DOCUMENTATION = r"""
module: ebs_volumes_info
short_description: List the EBS volumes of a storage node's pool
description:
  - By the tags C(fileflux:node) and C(fileflux:pool), with size, slot and whether it is attached.
options:
  instance_id:
    description: The node.
    type: str
    required: true
  pool:
    description: Name of the pool.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author: FileFlux
"""
EXAMPLES = r"""
- name: List
  ebs_volumes_info:
    instance_id: i-0123456789abcdef0
    pool: fileflux
  delegate_to: localhost
"""
RETURN = r"""
volumes:
  description: id, size (GiB), slot, is_attached of each.
  type: list
  returned: always
"""

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule


def facts_of(volume, instance_id):
    tags = {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}
    homes = [one["InstanceId"] for one in volume["Attachments"] if one["State"] != "detached"]
    return {
        "id": volume["VolumeId"],
        "size": volume["Size"],
        "slot": tags.get("fileflux:slot", ""),
        "is_attached": homes == [instance_id],
    }


def main():
    text = {"type": "str", "required": True}
    spec = {"instance_id": text, "pool": text}
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    instance_id = module.params["instance_id"]
    filters = [
        {"Name": "tag:fileflux:node", "Values": [instance_id]},
        {"Name": "tag:fileflux:pool", "Values": [module.params["pool"]]},
    ]
    try:
        pages = module.client("ec2").get_paginator("describe_volumes").paginate(Filters=filters)
        found = [facts_of(one, instance_id) for page in pages for one in page["Volumes"]]
    except Exception as problem:  # What botocore raises is told by the base class.
        module.fail_json_aws(problem, msg="the volumes could not be listed")
    module.exit_json(changed=False, volumes=sorted(found, key=lambda one: one["id"]))


if __name__ == "__main__":
    main()
