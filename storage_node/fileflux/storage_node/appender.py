"""The open extent: bundles behind each other, one sync for all that wait, the next extent in time.

Blocking; of one thread, so that extents have one writer and an order.
"""

import time
from collections.abc import Callable, Sequence

from fileflux.core.checksum import Buffer
from fileflux.core.clock import Clock
from fileflux.core.errors import NodeFull
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BundleId
from fileflux.core.telemetry import NODE_APPEND_BUNDLES, NODE_APPENDED_BYTES, NODE_SYNC_SECONDS
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.durable_files import NO_ROOM
from fileflux.storage_node.extent_file import Disk, DiskFailed, ExtentFile
from fileflux.storage_node.extent_format import EXTENT_SIZE_MAX, ExtentHeader, ExtentRow, encode_row
from fileflux.storage_node.identity import Dataset
from fileflux.storage_node.index_database import Location
from fileflux.storage_node.recovery import Recovered

Locate = Callable[[BundleId], Location | None]


class Appender:
    """`locate` tells where a bundle lies that is held already."""

    def __init__(
        self,
        dataset: Dataset,
        recovered: Recovered,
        locate: Locate,
        *,
        disk: Disk,
        clock: Clock,
        reserve_bytes: int,
        extent_bytes_max: int = EXTENT_SIZE_MAX,
    ) -> None:
        self.reserve_bytes = reserve_bytes
        self._dataset = dataset
        self._epoch = recovered.epoch
        self._extent: ExtentFile = recovered.extent
        self._table = recovered.table
        self._locate = locate
        self._disk = disk
        self._clock = clock
        self._extent_bytes_max = extent_bytes_max

    def append(self, bundles: Sequence[IncomingBundle]) -> list[tuple[IncomingBundle, Location]]:
        """Write what is not held, durably, never across two extents; return where.

        Raise NodeFull, with nothing written, or DiskFailed.
        """
        fresh = {b.bundle_id: b for b in bundles if self._locate(b.bundle_id) is None}
        if not fresh:
            return []
        total = sum(len(bundle.data) for bundle in fresh.values())
        try:
            self._check_room(total)
            if self._table and self._extent.written_end + total > self._extent_bytes_max:
                self._roll()
            offsets = self._append_durably([bundle.data for bundle in fresh.values()])
        except OSError as error:
            if error.errno in NO_ROOM:
                raise NodeFull("the disk is full") from error
            raise DiskFailed(f"the disk failed: {error}") from error
        return [
            (bundle, self._note(bundle, offset))
            for bundle, offset in zip(fresh.values(), offsets, strict=True)
        ]

    def free_bytes(self) -> int:
        """Return what the dataset still has."""
        return self._disk.free_bytes(self._dataset.extents)

    def close(self) -> None:
        self._extent.close()

    def _append_durably(self, buffers: Sequence[Buffer]) -> list[int]:
        failpoint("node.before_append")
        offsets = self._extent.append(buffers)
        failpoint("node.after_append")
        started_s = time.monotonic()
        self._extent.sync()
        NODE_SYNC_SECONDS.observe(time.monotonic() - started_s)
        NODE_APPEND_BUNDLES.observe(len(buffers))
        failpoint("node.after_fsync")
        return offsets

    def _note(self, bundle: IncomingBundle, offset: int) -> Location:
        length, (size, crc) = len(bundle.data), bundle.view.header.sealed
        self._table += encode_row(ExtentRow(bundle.bundle_id, offset, length, size, crc))
        NODE_APPENDED_BYTES.inc(length)
        return Location(self._extent.number, offset, length, size, crc)

    def _roll(self) -> None:
        """Make the next extent, then seal this one: a failure in between leaves both readable."""
        header = ExtentHeader(
            number=self._extent.number + 1,
            node_id=self._dataset.node_id,
            epoch=self._epoch,
            created_us=self._clock.now_us(),
        )
        following = ExtentFile.create(self._dataset.extents, header, self._disk)
        try:
            self._extent.seal(self._table)
        finally:
            self._extent.close()
            self._extent, self._table = following, bytearray()

    def _check_room(self, length: int) -> None:
        free = self.free_bytes()
        if free - length < self.reserve_bytes:
            raise NodeFull(f"{free} bytes are free, {self.reserve_bytes} are kept in reserve")
