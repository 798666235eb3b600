"""The calls that staging makes of an S3 bucket: each under a deadline, with our errors."""

import asyncio
import datetime
import email.utils
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from fileflux.core.checksum import Buffer
from fileflux.core.errors import NoSuchBundle, Unavailable

CALL_DEADLINE_S: Final = 20.0
URL_LIFE_S: Final = 900
"""An assignment lives for a minute; each further one carries a fresh URL."""
DELETE_MAX: Final = 1_000
"""Keys per DeleteObjects, by S3's rule."""
_PRECONDITION_CODES: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_MISSING_CODES: Final = frozenset({"NoSuchKey", "NotFound", "404"})

Done = TypeVar("Done")


class Bucket:
    """The few calls we make, each with a deadline, with our errors."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def put(self, key: str, body: Buffer, *, if_match: str | None = None) -> None:
        """Store an object; `if_match`: only over this ETag, else Unavailable."""
        conditions = {} if if_match is None else {"IfMatch": if_match}
        await _call(
            self._client.put_object(Bucket=self._name, Key=key, Body=bytes(body), **conditions)
        )

    async def get(self, key: str, start: int, length: int) -> bytes:
        return await _call(self._get(key, f"bytes={start}-{start + length - 1}"))

    async def size(self, key: str) -> int:
        answer = await _call(self._client.head_object(Bucket=self._name, Key=key))
        return int(answer["ContentLength"])

    async def lease(self, key: str) -> tuple[str, float]:
        """Return a lease's ETag and its age in seconds by the bucket's clock."""
        answer = await _call(self._client.head_object(Bucket=self._name, Key=key))
        date = email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        modified: datetime.datetime = answer["LastModified"]
        return answer["ETag"], (date - modified).total_seconds()

    async def delete(self, keys: Sequence[str]) -> None:
        for at in range(0, len(keys), DELETE_MAX):
            objects = [{"Key": key} for key in keys[at : at + DELETE_MAX]]
            wanted = {"Objects": objects, "Quiet": True}
            await _call(self._client.delete_objects(Bucket=self._name, Delete=wanted))

    async def folders(self) -> list[str]:
        """Return the first part of every key, once."""
        return [each["Prefix"][:-1] async for each in self._list("CommonPrefixes", Delimiter="/")]

    async def keys(self, prefix: str) -> list[str]:
        return [each["Key"] async for each in self._list("Contents", Prefix=prefix)]

    async def presign(self, key: str) -> str:
        params = {"Bucket": self._name, "Key": key}
        url: str = await self._client.generate_presigned_url(
            "get_object", Params=params, ExpiresIn=URL_LIFE_S
        )
        return url

    async def _get(self, key: str, byte_range: str) -> bytes:
        answer = await self._client.get_object(Bucket=self._name, Key=key, Range=byte_range)
        async with answer["Body"] as stream:
            data: bytes = await stream.read()
            return data

    async def _list(self, what: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = await _call(self._client.list_objects_v2(Bucket=self._name, **query, **more))
            for each in page.get(what, ()):
                yield each
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


@asynccontextmanager
async def open_bucket(
    name: str,
    *,
    endpoint: str | None,
    region: str,
    access_key: str | None = None,
    secret_key: str | None = None,
) -> AsyncIterator[Bucket]:
    """Connect; without keys the standard chain of credentials is asked."""
    config = AioConfig(
        connect_timeout=5,
        read_timeout=15,
        retries={"total_max_attempts": 3, "mode": "standard"},
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        max_pool_connections=64,
    )
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            get_session().create_client(
                "s3",
                endpoint_url=endpoint or None,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                config=config,
            )
        )
        yield Bucket(client, name)


async def _call(work: Coroutine[Any, Any, Done]) -> Done:
    """Await one call; raise NoSuchBundle or Unavailable."""
    try:
        async with asyncio.timeout(CALL_DEADLINE_S):
            return await work
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING_CODES:
            raise NoSuchBundle("not in the staging bucket") from error
        if code in _PRECONDITION_CODES:
            raise Unavailable("somebody else was faster") from error
        raise Unavailable(f"the staging bucket answers {code}") from error
    except (BotoCoreError, TimeoutError, OSError) as error:
        raise Unavailable("the staging bucket does not answer") from error
