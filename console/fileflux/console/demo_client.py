"""Store and fetch files with an unmodified S3 client (boto3), run by the client's own Python.

A script of its own, because today's boto3 and our aiobotocore ask for different botocores: it
imports nothing of FileFlux. Standard input: one JSON object {endpoint, access_key, secret_key,
bucket, root, files: [[key, path], …]}. Standard output: one JSON object a line, as things happen.
"""

import hashlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

THREADS = 8
PIECE_BYTES = 1 << 20

_print_lock = threading.Lock()


def say(**fields: Any) -> None:
    with _print_lock:
        print(json.dumps(fields), flush=True)


def main() -> None:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    job = json.load(sys.stdin)
    client = boto3.client(
        "s3",
        endpoint_url=job["endpoint"],
        aws_access_key_id=job["access_key"],
        aws_secret_access_key=job["secret_key"],
        region_name="us-east-1",
        verify=job.get("verify", True),
        config=Config(max_pool_connections=2 * THREADS, retries={"max_attempts": 5}),
    )
    client.create_bucket(Bucket=job["bucket"])
    transfer = TransferConfig(max_concurrency=2)
    with ThreadPoolExecutor(THREADS) as pool:
        upload = partial(upload_one, client, transfer, job["bucket"])
        sent = dict(pool.map(upload, job["files"]))
        say(phase="uploaded", files=len(sent), bytes=sum(size for size, _ in sent.values()))
        fetch = partial(compare_one, client, job["bucket"], sent)
        differences = sum(pool.map(fetch, sent))
    say(phase="compared", files=len(sent), differences=differences)


def upload_one(
    client: Any, transfer: Any, bucket: str, file: list[str]
) -> tuple[str, tuple[int, str]]:
    key, path = file
    size, digest = Path(path).stat().st_size, digest_of(path)
    client.upload_file(path, bucket, key, Config=transfer)
    say(phase="put", key=key, bytes=size)
    return key, (size, digest)


def compare_one(client: Any, bucket: str, sent: dict[str, tuple[int, str]], key: str) -> int:
    """Every byte is read back; a digest stands for the bytes that were sent."""
    digest = hashlib.sha256()
    received = 0
    for piece in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(PIECE_BYTES):
        digest.update(piece)
        received += len(piece)
    differs = (received, digest.hexdigest()) != sent[key]
    say(phase="get", key=key, bytes=received, differs=differs)
    return int(differs)


def digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123  # Paths come as text and stay so.
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


if __name__ == "__main__":
    main()
