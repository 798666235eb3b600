"""What the cluster's modules add: profiles of instances, queues, rules of events, identities."""

import json
from typing import Any

from tests.deploy.cloud.stand_in.server import ACCOUNT, REGION, Cloud, Handler, State, handles


@handles("aws_iam_role_policy_attachment")
class Attachment(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        where = {"RoleName": planned["role"], "PolicyArn": planned["policy_arn"]}
        cloud.client("iam").attach_role_policy(**where)
        return {"id": f"{planned['role']}-{planned['policy_arn']}"}

    def delete(self, cloud: Cloud, state: State) -> None:
        where = {"RoleName": state["role"], "PolicyArn": state["policy_arn"]}
        cloud.client("iam").detach_role_policy(**where)


@handles("aws_iam_instance_profile")
class Profile(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client, name = cloud.client("iam"), planned["name"]
        made = client.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        client.add_role_to_instance_profile(InstanceProfileName=name, RoleName=planned["role"])
        return {"id": name, "arn": made["Arn"], "unique_id": made["InstanceProfileId"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        client, name = cloud.client("iam"), state["name"]
        client.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=state["role"])
        client.delete_instance_profile(InstanceProfileName=name)


@handles("aws_sqs_queue")
class Queue(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        settings = {
            "MessageRetentionPeriod": str(int(planned["message_retention_seconds"])),
            "SqsManagedSseEnabled": str(planned["sqs_managed_sse_enabled"]).lower(),
        }
        client = cloud.client("sqs")
        url = client.create_queue(QueueName=planned["name"], Attributes=settings)["QueueUrl"]
        return {"id": url, "url": url, "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{planned['name']}"}

    def read(self, cloud: Cloud, state: State) -> State | None:
        found = _queue(cloud, state["url"])
        return {"message_retention_seconds": int(found["MessageRetentionPeriod"])}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("sqs").delete_queue(QueueUrl=state["url"])


@handles("aws_sqs_queue_policy")
class QueuePolicy(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        where = {"QueueUrl": planned["queue_url"]}
        cloud.client("sqs").set_queue_attributes(**where, Attributes={"Policy": planned["policy"]})
        return {"id": planned["queue_url"]}

    def read(self, cloud: Cloud, state: State) -> State | None:
        found = _queue(cloud, state["queue_url"]).get("Policy", "{}")
        same = json.loads(found) == json.loads(state["policy"])
        return {"policy": state["policy"] if same else found}


def _queue(cloud: Cloud, url: str) -> dict[str, Any]:
    found = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return dict(found["Attributes"])


@handles("aws_cloudwatch_event_rule")
class Rule(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        made = cloud.client("events").put_rule(
            Name=planned["name"],
            Description=planned["description"],
            EventPattern=planned["event_pattern"],
        )
        return {"id": planned["name"], "arn": made["RuleArn"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("events").delete_rule(Name=state["name"])


@handles("aws_cloudwatch_event_target")
class Target(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        target = {"Id": planned["target_id"], "Arn": planned["arn"]}
        cloud.client("events").put_targets(Rule=planned["rule"], Targets=[target])
        return {"id": f"{planned['rule']}-{planned['target_id']}"}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("events").remove_targets(Rule=state["rule"], Ids=[state["target_id"]])


@handles("aws_eks_pod_identity_association", "aws_eks_access_entry")
class Identity(Handler):
    """Kept in the state alone: moto 5.2 implements neither."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        whose = planned.get("service_account") or planned["principal_arn"]
        return {"id": f"{planned['cluster_name']}:{whose}"}
