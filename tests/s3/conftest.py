"""boto3 against a running FileFlux, in its default settings: what any user's program does.

Run by the clients' own environment (`make test-s3`): nothing of FileFlux is imported here.
"""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config


@pytest.fixture(scope="session")
def endpoint() -> str:
    """Where the system answers; `make test-s3` starts one."""
    found = os.environ.get("FILEFLUX_TEST_ENDPOINT")
    if not found:
        pytest.fail("FILEFLUX_TEST_ENDPOINT is not set: run `make test-s3`")
    return found


@pytest.fixture(scope="session")
def make_client(endpoint: str) -> Any:
    """make_client(access_key, secret_key, **config) → an S3 client."""

    def make(access_key: str, secret_key: str, **config: Any) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            verify=os.environ.get("FILEFLUX_TEST_CA") or True,
            config=Config(retries={"max_attempts": 1}, read_timeout=120, **config),
        )

    return make


@pytest.fixture(scope="session")
def root_keys() -> tuple[str, str]:
    return os.environ["FILEFLUX_TEST_ACCESS_KEY"], os.environ["FILEFLUX_TEST_SECRET_KEY"]


@pytest.fixture(scope="session")
def s3(make_client: Any, root_keys: tuple[str, str]) -> Any:
    return make_client(*root_keys)


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    """A fresh bucket; emptied and removed afterwards."""
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def empty(s3: Any, name: str) -> None:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
        if keys:
            s3.delete_objects(Bucket=name, Delete={"Objects": keys})


@pytest.fixture(scope="session")
def error_of() -> Any:
    """error_of(call) → (code, status); fails when the call succeeds."""
    from botocore.exceptions import ClientError

    def run(call: Any, **arguments: Any) -> tuple[str, int]:
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        answer = caught.value.response
        return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]

    return run
