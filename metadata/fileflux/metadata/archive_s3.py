"""An archive in a bucket of somebody else's S3.

One PUT is one object: it is there whole, with the checksum that was sent along, or not at all.
`If-None-Match: *` keeps what is there; a store that does not know it is no archive.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientPayloadError
from botocore.exceptions import BotoCoreError, ClientError

from fileflux.metadata.archive import AlreadyArchived, ArchiveUnavailable, NotArchived, Probe

CALL_DEADLINE_S: Final = 30.0
LIST_MAX: Final = 1_000
"""Names of one page, by S3's rule."""
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_MISSING: Final = frozenset({"NoSuchKey", "NotFound", "404"})

Done = TypeVar("Done")


class S3Archive:
    """The port `Archive`. `prefix`: empty, or ends with a slash."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    async def put(self, name: str, body: bytes) -> None:
        await self._call(
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=body, IfNoneMatch="*"
            )
        )

    async def get(self, name: str) -> bytes:
        return await self._call(self._get(self._prefix + name))

    async def names(self, prefix: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        wanted = {"Prefix": self._prefix + prefix, "MaxKeys": min(limit, LIST_MAX)}
        if after:
            wanted["StartAfter"] = self._prefix + after
        found: list[str] = []
        while True:
            page = await self._call(self._client.list_objects_v2(Bucket=self._bucket, **wanted))
            found += [each["Key"][len(self._prefix) :] for each in page.get("Contents", ())]
            if len(found) >= limit or not page.get("IsTruncated"):
                return found[:limit]
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    async def leave_probe(self) -> Probe | None:
        probe = S3Probe(self, self._bucket, f"{self._prefix}probes/{secrets.token_hex(16)}")
        await self._call(
            self._client.put_object(Bucket=self._bucket, Key=probe.key, Body=b"is this FileFlux?")
        )
        return probe

    async def remove(self, key: str) -> None:
        await self._call(self._client.delete_object(Bucket=self._bucket, Key=key))

    async def _get(self, key: str) -> bytes:
        answer = await self._client.get_object(Bucket=self._bucket, Key=key)
        async with answer["Body"] as stream:
            data: bytes = await stream.read()
            return data

    async def _call(self, work: Coroutine[Any, Any, Done]) -> Done:
        """Await one call; raise NotArchived, AlreadyArchived or ArchiveUnavailable."""
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                return await work
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise NotArchived("not in the archive's bucket") from error
            if code in _TAKEN:
                raise AlreadyArchived("in the archive's bucket already") from error
            raise ArchiveUnavailable(
                f"the archive's bucket {self._bucket} answers {code}"
            ) from error
        except (BotoCoreError, ClientPayloadError, TimeoutError, OSError) as error:
            raise ArchiveUnavailable(f"the archive's S3 does not answer: {error!r}") from error


@dataclass(frozen=True, slots=True)
class S3Probe:
    """An object that FileFlux knows of if it is the store itself."""

    archive: S3Archive
    bucket: str
    key: str

    async def remove(self) -> None:
        await self.archive.remove(self.key)


@asynccontextmanager
async def open_s3_archive(
    bucket: str,
    prefix: str,
    *,
    endpoint: str,
    region: str,
    access_key: str,
    secret_key: str,
) -> AsyncIterator[S3Archive]:
    """Connect; without keys the standard chain of credentials is asked."""
    config = AioConfig(
        connect_timeout=5,
        read_timeout=20,
        retries={"total_max_attempts": 3, "mode": "standard"},
        s3={"addressing_style": "path"},
        signature_version="s3v4",
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region,
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        config=config,
    ) as client:
        yield S3Archive(client, bucket, prefix)
