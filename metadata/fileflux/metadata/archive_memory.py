"""The archive's port over a dictionary, for unit tests."""

import asyncio

from fileflux.metadata.archive import AlreadyArchived, ArchiveUnavailable, NotArchived, Probe


class MemoryArchive:
    """The port `Archive`. `is_down`: nothing answers."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_down = False

    async def put(self, name: str, body: bytes) -> None:
        await self._check()
        if name in self.objects:
            raise AlreadyArchived(f"{name} is in the archive")
        self.objects[name] = bytes(body)

    async def get(self, name: str) -> bytes:
        await self._check()
        try:
            return self.objects[name]
        except KeyError:
            raise NotArchived(f"{name} is not in the archive") from None

    async def names(self, prefix: str, *, after: str = "", limit: int = 1_000) -> list[str]:
        await self._check()
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        return names[:limit]

    async def leave_probe(self) -> Probe | None:
        return None

    async def _check(self) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise ArchiveUnavailable("the archive does not answer")
