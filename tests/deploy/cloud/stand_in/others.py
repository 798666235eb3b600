"""Keys, roles, secrets, logs, alarms, certificates and buckets."""

import json
from typing import Any

from tests.deploy.cloud.stand_in.server import (
    ACCOUNT,
    REGION,
    Cloud,
    Handler,
    State,
    handles,
    tag_list,
)


@handles("aws_kms_key")
class Key(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("kms")
        tags = [{"TagKey": one["Key"], "TagValue": one["Value"]} for one in tag_list(planned)]
        made = client.create_key(
            Description=planned["description"], Policy=planned["policy"], Tags=tags
        )["KeyMetadata"]
        if planned["enable_key_rotation"]:
            days = int(planned["rotation_period_in_days"] or 365)
            client.enable_key_rotation(KeyId=made["KeyId"], RotationPeriodInDays=days)
        return {"id": made["KeyId"], "key_id": made["KeyId"], "arn": made["Arn"]}

    def read(self, cloud: Cloud, state: State) -> State | None:
        client = cloud.client("kms")
        policy = client.get_key_policy(KeyId=state["id"], PolicyName="default")["Policy"]
        rotated = client.get_key_rotation_status(KeyId=state["id"])["KeyRotationEnabled"]
        same = json.loads(policy) == json.loads(state["policy"])
        return {"policy": state["policy"] if same else policy, "enable_key_rotation": rotated}

    def delete(self, cloud: Cloud, state: State) -> None:
        days = int(state["deletion_window_in_days"])
        cloud.client("kms").schedule_key_deletion(KeyId=state["id"], PendingWindowInDays=days)


@handles("aws_kms_alias")
class Alias(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        where = {"AliasName": planned["name"], "TargetKeyId": planned["target_key_id"]}
        cloud.client("kms").create_alias(**where)
        return {"id": planned["name"], "arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:{planned['name']}"}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("kms").delete_alias(AliasName=state["name"])


@handles("aws_iam_role")
class Role(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        made = cloud.client("iam").create_role(
            RoleName=planned["name"],
            Description=planned["description"] or "",
            AssumeRolePolicyDocument=planned["assume_role_policy"],
            Tags=tag_list(planned),
        )["Role"]
        return {"id": planned["name"], "arn": made["Arn"], "unique_id": made["RoleId"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("iam").delete_role(RoleName=state["name"])


@handles("aws_iam_role_policy")
class RolePolicy(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        where = {"RoleName": planned["role"], "PolicyName": planned["name"]}
        cloud.client("iam").put_role_policy(**where, PolicyDocument=planned["policy"])
        return {"id": f"{planned['role']}:{planned['name']}"}

    def delete(self, cloud: Cloud, state: State) -> None:
        where = {"RoleName": state["role"], "PolicyName": state["name"]}
        cloud.client("iam").delete_role_policy(**where)


@handles("aws_secretsmanager_secret")
class Secret(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        made = cloud.client("secretsmanager").create_secret(
            Name=planned["name"],
            Description=planned["description"],
            KmsKeyId=planned["kms_key_id"],
            Tags=tag_list(planned),
        )
        return {"id": made["ARN"], "arn": made["ARN"]}

    def read(self, cloud: Cloud, state: State) -> State | None:
        found = cloud.client("secretsmanager").describe_secret(SecretId=state["id"])
        return {"kms_key_id": found["KmsKeyId"], "description": found["Description"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        client = cloud.client("secretsmanager")
        client.delete_secret(SecretId=state["id"], ForceDeleteWithoutRecovery=True)


@handles("aws_secretsmanager_secret_version")
class SecretVersion(Handler):
    """The value comes with the configuration only: it is in no plan and in no state."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        made = cloud.client("secretsmanager").put_secret_value(
            SecretId=planned["secret_id"], SecretString=config["secret_string_wo"]
        )
        identifier = f"{planned['secret_id']}|{made['VersionId']}"
        return {"id": identifier, "version_id": made["VersionId"], "arn": made["ARN"]}

    def update(self, cloud: Cloud, planned: State, config: State, prior: State) -> State:
        made = self.create(cloud, planned, config)
        return {**made, "id": prior["id"], "version_id": prior["version_id"]}


@handles("aws_cloudwatch_log_group")
class LogGroup(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("logs")
        name = planned["name"]
        client.create_log_group(
            logGroupName=name, kmsKeyId=planned["kms_key_id"], tags=planned["tags_all"]
        )
        days = int(planned["retention_in_days"])
        client.put_retention_policy(logGroupName=name, retentionInDays=days)
        return {"id": name, "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"}

    def read(self, cloud: Cloud, state: State) -> State | None:
        found = cloud.client("logs").describe_log_groups(logGroupNamePrefix=state["name"])
        for one in found["logGroups"]:
            if one["logGroupName"] == state["name"]:
                days = {"retention_in_days": one.get("retentionInDays")}
                return {**days, "kms_key_id": one.get("kmsKeyId")}
        return None

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("logs").delete_log_group(logGroupName=state["name"])


@handles("aws_cloudwatch_log_metric_filter")
class MetricFilter(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        (metric,) = planned["metric_transformation"]
        made = {"metricName": metric["name"], "metricNamespace": metric["namespace"]}
        made |= {"metricValue": metric["value"], "defaultValue": float(metric["default_value"])}
        cloud.client("logs").put_metric_filter(
            logGroupName=planned["log_group_name"],
            filterName=planned["name"],
            filterPattern=planned["pattern"],
            metricTransformations=[made],
        )
        return {"id": planned["name"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        where = {"logGroupName": state["log_group_name"], "filterName": state["name"]}
        cloud.client("logs").delete_metric_filter(**where)


@handles("aws_cloudwatch_metric_alarm")
class Alarm(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        dimensions = [{"Name": k, "Value": v} for k, v in (planned["dimensions"] or {}).items()]
        cloud.client("cloudwatch").put_metric_alarm(
            AlarmName=planned["alarm_name"],
            AlarmDescription=planned["alarm_description"],
            Namespace=planned["namespace"],
            MetricName=planned["metric_name"],
            Dimensions=dimensions,
            Statistic=planned["statistic"],
            Period=int(planned["period"]),
            EvaluationPeriods=int(planned["evaluation_periods"]),
            Threshold=float(planned["threshold"]),
            ComparisonOperator=planned["comparison_operator"],
            TreatMissingData=planned["treat_missing_data"],
            AlarmActions=planned["alarm_actions"],
        )
        name = planned["alarm_name"]
        return {"id": name, "arn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("cloudwatch").delete_alarms(AlarmNames=[state["alarm_name"]])


@handles("aws_sns_topic")
class Topic(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        settings = {"KmsMasterKeyId": planned["kms_master_key_id"]}
        client = cloud.client("sns")
        arn = client.create_topic(Name=planned["name"], Attributes=settings)["TopicArn"]
        return {"id": arn, "arn": arn}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("sns").delete_topic(TopicArn=state["arn"])


@handles("aws_sns_topic_policy")
class TopicPolicy(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        cloud.client("sns").set_topic_attributes(
            TopicArn=planned["arn"], AttributeName="Policy", AttributeValue=planned["policy"]
        )
        return {"id": planned["arn"], "owner": ACCOUNT}


@handles("aws_sns_topic_subscription")
class Subscription(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        arn = cloud.client("sns").subscribe(
            TopicArn=planned["topic_arn"],
            Protocol=planned["protocol"],
            Endpoint=planned["endpoint"],
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        return {"id": arn, "arn": arn}


@handles("aws_acm_certificate")
class Certificate(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("acm")
        arn = client.request_certificate(
            DomainName=planned["domain_name"],
            ValidationMethod=planned["validation_method"],
            SubjectAlternativeNames=[planned["domain_name"], *planned["subject_alternative_names"]],
        )["CertificateArn"]
        found = client.describe_certificate(CertificateArn=arn)["Certificate"]
        options = [_validation(one) for one in found["DomainValidationOptions"]]
        return {"id": arn, "arn": arn, "domain_validation_options": options}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("acm").delete_certificate(CertificateArn=state["arn"])


def _validation(one: dict[str, Any]) -> dict[str, str]:
    record = one["ResourceRecord"]
    return {
        "domain_name": one["DomainName"],
        "resource_record_name": record["Name"],
        "resource_record_type": record["Type"],
        "resource_record_value": record["Value"],
    }


@handles("aws_s3_bucket")
class Bucket(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        where = {"LocationConstraint": REGION}
        name = planned["bucket"]
        cloud.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return {"id": name, "arn": f"arn:aws:s3:::{name}"}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("s3").delete_bucket(Bucket=state["id"])


class BucketPart(Handler):
    """A setting of a bucket, gone with it. `call` sets it."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        self.call(cloud.client("s3"), planned["bucket"], planned)
        return {"id": planned["bucket"]}

    def call(self, client: Any, bucket: str, planned: State) -> None:
        raise NotImplementedError


@handles("aws_s3_bucket_versioning")
class Versioning(BucketPart):
    def call(self, client: Any, bucket: str, planned: State) -> None:
        status = planned["versioning_configuration"][0]["status"]
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


@handles("aws_s3_bucket_server_side_encryption_configuration")
class Encryption(BucketPart):
    def call(self, client: Any, bucket: str, planned: State) -> None:
        (rule,) = planned["rule"]
        (default,) = rule["apply_server_side_encryption_by_default"]
        made = {"SSEAlgorithm": default["sse_algorithm"]}
        made["KMSMasterKeyID"] = default["kms_master_key_id"]
        rules = [{"ApplyServerSideEncryptionByDefault": made, "BucketKeyEnabled": True}]
        client.put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules}
        )


@handles("aws_s3_bucket_public_access_block")
class PublicAccess(BucketPart):
    def call(self, client: Any, bucket: str, planned: State) -> None:
        names = {
            "block_public_acls": "BlockPublicAcls",
            "block_public_policy": "BlockPublicPolicy",
            "ignore_public_acls": "IgnorePublicAcls",
            "restrict_public_buckets": "RestrictPublicBuckets",
        }
        block = {api: planned[ours] for ours, api in names.items()}
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)


@handles("aws_s3_bucket_ownership_controls")
class Ownership(BucketPart):
    def call(self, client: Any, bucket: str, planned: State) -> None:
        rules = [{"ObjectOwnership": planned["rule"][0]["object_ownership"]}]
        client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})


@handles("aws_s3_bucket_lifecycle_configuration")
class Lifecycle(BucketPart):
    def call(self, client: Any, bucket: str, planned: State) -> None:
        (rule,) = planned["rule"]
        made = {"ID": rule["id"], "Status": rule["status"], "Filter": {"Prefix": ""}}
        for one in rule["noncurrent_version_expiration"] or []:
            made["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(one["noncurrent_days"])}
        for one in rule["expiration"] or []:
            made["Expiration"] = {"Days": int(one["days"])}
        for one in rule["transition"] or []:
            moved = {"Days": int(one["days"]), "StorageClass": one["storage_class"]}
            made["Transitions"] = [moved]
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [made]}
        )


@handles("aws_s3_bucket_policy")
class BucketPolicy(BucketPart):
    def call(self, client: Any, bucket: str, planned: State) -> None:
        client.put_bucket_policy(Bucket=bucket, Policy=planned["policy"])


@handles("aws_budgets_budget")
class Budget(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        limit = {"Amount": planned["limit_amount"], "Unit": planned["limit_unit"]}
        notices = [_notice(one) for one in planned["notification"]]
        filters = {one["name"]: one["values"] for one in planned["cost_filter"]}
        cloud.client("budgets").create_budget(
            AccountId=ACCOUNT,
            Budget={
                "BudgetName": planned["name"],
                "BudgetLimit": limit,
                "CostFilters": filters,
                "TimeUnit": planned["time_unit"],
                "BudgetType": planned["budget_type"],
            },
            NotificationsWithSubscribers=notices,
        )
        return {"id": f"{ACCOUNT}:{planned['name']}", "account_id": ACCOUNT}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("budgets").delete_budget(AccountId=ACCOUNT, BudgetName=state["name"])


def _notice(one: State) -> dict[str, Any]:
    mails = one["subscriber_email_addresses"]
    return {
        "Notification": {
            "NotificationType": one["notification_type"],
            "ComparisonOperator": one["comparison_operator"],
            "Threshold": float(one["threshold"]),
            "ThresholdType": one["threshold_type"],
        },
        "Subscribers": [{"SubscriptionType": "EMAIL", "Address": mail} for mail in mails],
    }
