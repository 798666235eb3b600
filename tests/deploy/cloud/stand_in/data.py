"""Data sources: who and where we are, and policies as the documents that IAM reads."""

import json
from typing import Any

from tests.deploy.cloud.stand_in.server import ACCOUNT, DATA, REGION, Cloud, State

Statement = dict[str, Any]


def document(cloud: Cloud, config: State) -> State:
    """Return the JSON of an aws_iam_policy_document; statements of its sources come first."""
    statements: list[Statement] = []
    for source in config["source_policy_documents"] or []:
        statements += json.loads(source)["Statement"]
    statements += [_statement(one) for one in config["statement"] or []]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
    return {"json": text, "minified_json": json.dumps(json.loads(text)), "id": str(hash(text))}


def _statement(one: State) -> Statement:
    made: Statement = {"Effect": one["effect"] or "Allow"}
    if one["sid"]:
        made["Sid"] = one["sid"]
    for argument, name in (("actions", "Action"), ("resources", "Resource")):
        if one[argument]:
            made[name] = sorted(one[argument])
    principals = {p["type"]: sorted(p["identifiers"]) for p in one["principals"] or []}
    if principals:
        made["Principal"] = principals
    for condition in one["condition"] or []:
        by_test = made.setdefault("Condition", {}).setdefault(condition["test"], {})
        by_test[condition["variable"]] = condition["values"]
    return made


def password(cloud: Cloud, config: State) -> State:
    """Return what Secrets Manager generates: arguments that are not given are not sent."""
    names = {
        "password_length": "PasswordLength",
        "exclude_punctuation": "ExcludePunctuation",
        "exclude_uppercase": "ExcludeUppercase",
        "exclude_lowercase": "ExcludeLowercase",
        "exclude_numbers": "ExcludeNumbers",
    }
    given = {ours: config[name] for name, ours in names.items() if config[name] is not None}
    client = cloud.client("secretsmanager")
    return {"random_password": client.get_random_password(**given)["RandomPassword"]}


DATA["aws_region"] = lambda cloud, config: {"name": REGION, "id": REGION}
DATA["aws_partition"] = lambda cloud, config: {"partition": "aws", "id": "aws"}
DATA["aws_caller_identity"] = lambda cloud, config: {"account_id": ACCOUNT, "id": ACCOUNT}
DATA["aws_iam_policy_document"] = document
DATA["aws_secretsmanager_random_password"] = password
