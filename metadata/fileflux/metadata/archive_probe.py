"""An archive inside FileFlux alone would be lost with FileFlux: its own endpoint is refused.

Names and addresses prove nothing behind proxies and aliases. So an object is left in the bucket,
and our own database is asked for it: if that knows the object, the bucket is ours.
"""

from fileflux.core.telemetry import get_logger
from fileflux.metadata.archive import Archive, ArchiveInvalid, ArchiveUnavailable, Probe
from fileflux.metadata.ports import MetadataReader

log = get_logger(__name__)


async def refuse_ourselves(archive: Archive, reader: MetadataReader) -> None:
    """Raise ArchiveInvalid if the archive lies in FileFlux itself; ArchiveUnavailable."""
    probe = await archive.leave_probe()
    if probe is None:
        return
    try:
        found = (await reader.find_objects([(probe.bucket, probe.key.encode())]))[0]
    finally:
        await _remove(probe)
    if found.row is not None:
        raise ArchiveInvalid(
            f"the archive's bucket {probe.bucket} is in FileFlux itself: what it shall survive "
            "would take it along. Set FILEFLUX_ARCHIVE_URL and FILEFLUX_ARCHIVE_ENDPOINT to "
            "another store"
        )


async def _remove(probe: Probe) -> None:
    """Whoever may not delete in the archive is a good archiver: then the probe stays."""
    try:
        await probe.remove()
    except ArchiveUnavailable as error:
        log.info("a probe stays in the archive's bucket", key=probe.key, cause=str(error))
