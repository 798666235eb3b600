#!/usr/bin/python
"""One EBS volume of a node: made once, attached, grown, let go. Runs where the cloud's keys are."""

DOCUMENTATION = r"""
module: ebs_volume
short_description: Make, attach, grow or let go an EBS volume of a storage node
description:
  - A volume is known by its tags (pool, node, slot), which it has from its first moment, and made
    with an idempotency token. So a run that broke anywhere finds it again, and makes no second one.
  - Its zone is the instance's. It never shrinks, and is never deleted.
options:
  instance_id:
    description: The node.
    type: str
    required: true
  pool:
    description: Tag C(fileflux:pool).
    type: str
    required: true
  slot:
    description: Place in the pool, tag C(fileflux:slot). Needed unless O(volume_id) is given.
    type: str
  volume_id:
    description: A volume that exists; nothing is made then.
    type: str
  state:
    description: V(detached) lets go of a volume that the caller knows to be out of the pool.
    type: str
    choices: [present, detached]
    default: present
  size_gib:
    description: A smaller volume grows to it.
    type: int
  volume_type:
    description: EBS volume type.
    type: str
    default: gp3
  iops:
    description: For types that take it.
    type: int
  throughput:
    description: MiB/s, for types that take it.
    type: int
  kms_key_id:
    description: Key of the encryption; the account's own for EBS without it.
    type: str
  tags:
    description: More tags.
    type: dict
    default: {}
  token_salt:
    description: Another value makes another token, for a slot whose volume somebody deleted.
    type: str
    default: "1"
  timeout_s:
    description: How long to wait for each state.
    type: int
    default: 300
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
author: FileFlux
"""
EXAMPLES = r"""
- name: A volume for the second mirror's first side
  ebs_volume:
    instance_id: i-0123456789abcdef0
    pool: fileflux
    slot: 1-0
    size_gib: 500
  delegate_to: localhost
"""
RETURN = r"""
volume_id:
  description: The volume; empty in check mode when it would be made.
  type: str
  returned: always
device:
  description: Its path on the node.
  type: str
  returned: always
"""

import hashlib
import time

from ansible.module_utils.volume_plan import device_of, free_device
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

OPTIONS = {
    "instance_id": {"type": "str", "required": True},
    "pool": {"type": "str", "required": True},
    "slot": {"type": "str"},
    "volume_id": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "detached"], "default": "present"},
    "size_gib": {"type": "int"},
    "volume_type": {"type": "str", "default": "gp3"},
    "iops": {"type": "int"},
    "throughput": {"type": "int"},
    "kms_key_id": {"type": "str"},
    "tags": {"type": "dict", "default": {}},
    "token_salt": {"type": "str", "default": "1", "no_log": False},
    "timeout_s": {"type": "int", "default": 300},
}


class Volume:
    """Brings one volume to the state that is asked for; `done` says what was changed."""

    def __init__(self, module):
        self.module = module
        self.asked = module.params
        self.ec2 = module.client("ec2")
        self.done = []

    def fail(self, text):
        self.module.fail_json(msg=text)

    def instance(self):
        answer = self.ec2.describe_instances(InstanceIds=[self.asked["instance_id"]])
        return answer["Reservations"][0]["Instances"][0]

    def find(self):
        """Return the volume or None; two of one slot are a person's business."""
        asked = self.asked
        if asked["volume_id"]:
            return self.ec2.describe_volumes(VolumeIds=[asked["volume_id"]])["Volumes"][0]
        wanted = {"pool": asked["pool"], "node": asked["instance_id"], "slot": asked["slot"]}
        filters = [{"Name": f"tag:fileflux:{k}", "Values": [v]} for k, v in wanted.items()]
        pages = self.ec2.get_paginator("describe_volumes").paginate(Filters=filters)
        found = [one for page in pages for one in page["Volumes"]]
        alive = [one for one in found if one["State"] not in ("deleting", "deleted")]
        if len(alive) > 1:
            ids = ", ".join(one["VolumeId"] for one in alive)
            self.fail(f"slot {asked['slot']} has {ids}: untag the one that is not in the pool")
        return alive[0] if alive else None

    def present(self):
        instance = self.instance()
        volume = self.find()
        if volume is None:
            if not self.asked["slot"] or not self.asked["size_gib"]:
                self.fail("a new volume needs slot and size_gib")
            volume = self._create(instance["Placement"]["AvailabilityZone"])
        if volume is None:  # Check mode: what follows depends on nothing else.
            self.done.append("attach it")
            return ""
        self._grow(volume)
        self._attach(volume["VolumeId"], instance)
        return volume["VolumeId"]

    def _create(self, zone):
        asked = self.asked
        self.done.append(f"make {asked['size_gib']} GiB {asked['volume_type']} in {zone}")
        if self.module.check_mode:
            return None
        extra = {"Iops": asked["iops"], "Throughput": asked["throughput"]}
        extra["KmsKeyId"] = asked["kms_key_id"]
        tags = {
            "Project": "fileflux",
            **asked["tags"],
            "fileflux:pool": asked["pool"],
            "fileflux:node": asked["instance_id"],
            "fileflux:slot": asked["slot"],
        }
        made = self.ec2.create_volume(
            AvailabilityZone=zone,
            Size=asked["size_gib"],
            VolumeType=asked["volume_type"],
            Encrypted=True,
            ClientToken=self._token(),
            TagSpecifications=[
                {
                    "ResourceType": "volume",
                    "Tags": [{"Key": k, "Value": str(v)} for k, v in tags.items()],
                }
            ],
            **{key: value for key, value in extra.items() if value},
        )
        return self._wait(made["VolumeId"], lambda one: one["State"] == "available", "available")

    def _token(self):
        asked = self.asked
        parts = (asked["instance_id"], asked["pool"], asked["slot"], asked["token_salt"])
        return hashlib.sha256("/".join(parts).encode()).hexdigest()

    def _grow(self, volume):
        size = self.asked["size_gib"]
        if not size or volume["Size"] >= size:
            return
        self.done.append(f"grow {volume['VolumeId']} from {volume['Size']} to {size} GiB")
        if not self.module.check_mode:
            self.ec2.modify_volume(VolumeId=volume["VolumeId"], Size=size)
            self._wait(volume["VolumeId"], lambda one: one["Size"] >= size, f"{size} GiB")

    def _attach(self, volume_id, instance):
        volume = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
        homes = [one["InstanceId"] for one in volume["Attachments"] if one["State"] != "detached"]
        if homes and homes != [instance["InstanceId"]]:
            self.fail(f"{volume_id} is attached to {', '.join(homes)}, not to this node")
        if not homes:
            taken = [one["DeviceName"] for one in instance.get("BlockDeviceMappings", [])]
            device = free_device(taken)
            if device is None:
                self.fail("the instance has no free device name from /dev/sdf to /dev/sdp")
            self.done.append(f"attach {volume_id} as {device}")
            if self.module.check_mode:
                return
            identity = {"VolumeId": volume_id, "InstanceId": instance["InstanceId"]}
            self.ec2.attach_volume(Device=device, **identity)
        self._wait(volume_id, is_attached, "attached")

    def detached(self):
        volume = self.find()
        if volume is None or not volume["Attachments"]:
            return volume["VolumeId"] if volume else ""
        if [one["InstanceId"] for one in volume["Attachments"]] != [self.asked["instance_id"]]:
            self.fail(f"{volume['VolumeId']} is not this node's")
        self.done.append(f"detach {volume['VolumeId']}")
        if not self.module.check_mode:
            self.ec2.detach_volume(
                VolumeId=volume["VolumeId"], InstanceId=self.asked["instance_id"]
            )
            self._wait(volume["VolumeId"], lambda one: one["State"] == "available", "available")
        return volume["VolumeId"]

    def _wait(self, volume_id, is_there, what):
        deadline = time.monotonic() + self.asked["timeout_s"]
        while True:
            volume = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
            if volume["State"] == "error":
                self.fail(f"{volume_id} is in state error: is the KMS key usable?")
            if is_there(volume):
                return volume
            if time.monotonic() > deadline:
                self.fail(f"{volume_id} is not {what} after {self.asked['timeout_s']} s; run again")
            time.sleep(1)


def is_attached(volume):
    return [one["State"] for one in volume["Attachments"]] == ["attached"]


def main():
    module = AnsibleAWSModule(
        argument_spec=OPTIONS,
        required_one_of=[["slot", "volume_id"]],
        supports_check_mode=True,
    )
    volume = Volume(module)
    try:
        act = volume.detached if module.params["state"] == "detached" else volume.present
        volume_id = act()
    except Exception as problem:  # What botocore raises is told by the base class.
        module.fail_json_aws(problem, msg="the volume could not be brought to its state")
    slot = module.params["slot"] or module.params["volume_id"]
    device = device_of(volume_id) if volume_id else f"planned:{slot}"
    after = "".join(f"{line}\n" for line in volume.done)
    module.exit_json(
        changed=bool(volume.done),
        volume_id=volume_id,
        device=device,
        actions=volume.done,
        diff={"before": "", "after": after},
    )


if __name__ == "__main__":
    main()
