"""What a storage node reads from its environment."""

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from fileflux.core.model import GIB, MIB
from fileflux.core.settings import ClusterSettings


class NodeSettings(ClusterSettings):
    """Names in the environment are the aliases."""

    data_dir: Path = Field(alias="FILEFLUX_NODE_DATA_DIR")
    """The mounted dataset, or any directory. One node, one process. Empty: a new node."""
    host: str = Field("127.0.0.1", alias="FILEFLUX_NODE_HOST")
    """The address to listen on."""
    port: int = Field(0, alias="FILEFLUX_NODE_PORT", ge=0, le=65535)
    """Where readers and peers connect. 0 takes a free port."""
    advertised_url: str = Field("", alias="FILEFLUX_NODE_ADVERTISED_URL")
    """How others reach this node. Empty: http://HOST:PORT."""
    domain: str = Field(default_factory=socket.gethostname, alias="FILEFLUX_NODE_DOMAIN")
    """Failure domain, from the largest to the smallest: site-a/rack-3/host-7."""

    backend: Literal["directory", "zfs"] = Field("directory", alias="FILEFLUX_NODE_BACKEND")
    """Who tells the pool's figures: ZFS commands, or the file system."""
    pool: str = Field("", alias="FILEFLUX_NODE_POOL")
    """The pool of the zfs backend."""
    dataset: str = Field("", alias="FILEFLUX_NODE_DATASET")
    """The dataset mounted at DATA_DIR. Empty: the pool's own."""
    pool_interval_s: float = Field(5.0, alias="FILEFLUX_NODE_POOL_INTERVAL_S", gt=0)
    """How often the pool's figures are asked for."""

    exporter_host: str = Field("127.0.0.1", alias="FILEFLUX_NODE_EXPORTER_HOST")
    """Where the exporter listens."""
    exporter_port: int = Field(9134, alias="FILEFLUX_NODE_EXPORTER_PORT", ge=0, le=65535)
    """Pool metrics. Taken: the next free one. 0 takes any free port."""
    heartbeat_interval_s: float = Field(1.0, alias="FILEFLUX_NODE_HEARTBEAT_INTERVAL_S", gt=0)
    """3 in clusters of more than 100 nodes."""

    reserve_bytes: int = Field(GIB, alias="FILEFLUX_NODE_RESERVE_BYTES", ge=0)
    """Never filled: deletes, the index and the pool itself need room."""
    ballast_bytes: int = Field(16 * MIB, alias="FILEFLUX_NODE_BALLAST_BYTES", ge=0)
    """A file thrown off when others filled the pool: what a start needs. 0: none."""
    index_cache_bytes: int = Field(64 * MIB, alias="FILEFLUX_NODE_INDEX_CACHE_BYTES", ge=0)
    """Tables of bundles kept in memory."""
    disk_deadline_s: float = Field(15.0, alias="FILEFLUX_NODE_DISK_DEADLINE_S", gt=0)
    """A disk call that takes longer fences the node."""
    extent_bytes_max: int = Field(GIB, alias="FILEFLUX_NODE_EXTENT_BYTES_MAX", ge=MIB, le=GIB)
    """When an extent is sealed and the next one begun."""

    @model_validator(mode="after")
    def _zfs_needs_a_pool(self) -> "NodeSettings":
        if self.backend == "zfs" and not self.pool:
            raise ValueError("FILEFLUX_NODE_POOL must name the pool of the zfs backend")
        return self
