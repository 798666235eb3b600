"""`helm test`: stores two objects, fetches them, compares every byte, and removes what it made.

    round_trip.py ENDPOINT REGION     keys from FILEFLUX_ROOT_ACCESS_KEY, FILEFLUX_ROOT_SECRET_KEY

One object shares a bundle with others, the other one is cut into chunks: two ways through FileFlux.
"""

import hashlib
import os
import sys
import uuid
from typing import Any

from botocore.config import Config
from botocore.session import Session

SIZES = {"small": 1_000, "large": 9 * 1024 * 1024}


def client_of(endpoint: str, region: str) -> Any:
    return Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=os.environ["FILEFLUX_ROOT_ACCESS_KEY"],
        aws_secret_access_key=os.environ["FILEFLUX_ROOT_SECRET_KEY"],
        verify=False,  # The Service's name is in no certificate.
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
    )


def round_trip(s3: Any, bucket: str, key: str, size: int) -> None:
    """Raise AssertionError when what comes back is not what was sent."""
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    try:
        back = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert back == body, f"{key}: {len(back)} bytes came back, not the {size} that were sent"
        print(f"{key}: {size} bytes there and back, sha256 {hashlib.sha256(back).hexdigest()}")
    finally:
        s3.delete_object(Bucket=bucket, Key=key)


def main(endpoint: str, region: str) -> None:
    s3 = client_of(endpoint, region)
    bucket = f"helm-test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    try:
        for key, size in SIZES.items():
            round_trip(s3, bucket, key, size)
    finally:
        s3.delete_bucket(Bucket=bucket)
    print("the round trip is whole")


if __name__ == "__main__":
    main(*sys.argv[1:3])
