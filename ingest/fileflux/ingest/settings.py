"""What the ingest reads from its environment.

Bounds are per host where they name the host, per worker process otherwise; a worker takes its
share (`staging_share_bytes`), so that no worker needs to ask another one.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from fileflux.core.classes import ClassSettings
from fileflux.core.model import MIB
from fileflux.core.settings import ClusterSettings, DatabaseSettings


class IngestSettings(ClusterSettings, DatabaseSettings, ClassSettings):
    """Names in the environment are the aliases."""

    master_key: SecretStr = Field(alias="FILEFLUX_MASTER_KEY")
    """Encrypts the users' S3 secret keys. 64 hexadecimal digits, the same for every ingest."""
    root_access_key: str = Field(alias="FILEFLUX_ROOT_ACCESS_KEY", min_length=3)
    """The access key of root, who may do everything."""
    root_secret_key: SecretStr = Field(alias="FILEFLUX_ROOT_SECRET_KEY", min_length=8)
    """Its secret key; the password of root for HTTP Basic, too."""

    host: str = Field("127.0.0.1", alias="FILEFLUX_INGEST_HOST")
    """The address to listen on, for clients and for storage nodes."""
    port: int = Field(9000, alias="FILEFLUX_INGEST_PORT", ge=0, le=65535)
    """Where S3 and REST clients connect. 0 takes a free port."""
    internal_port: int = Field(0, alias="FILEFLUX_INGEST_INTERNAL_PORT", ge=0, le=65535)
    """Where storage nodes fetch staged bundles. 0 takes a free port."""
    advertised_url: str = Field("", alias="FILEFLUX_INGEST_ADVERTISED_URL")
    """How nodes reach the internal port. Empty: http://HOST:INTERNAL_PORT."""
    metrics_port: int = Field(0, alias="FILEFLUX_INGEST_METRICS_PORT", ge=0, le=65535)
    """The first worker's metrics; the others take the next ports. 0 takes free ones."""
    workers: int = Field(1, alias="FILEFLUX_INGEST_WORKERS", ge=1, le=256)
    """Worker processes that share the port; about one for each core."""
    tls_cert: str = Field("", alias="FILEFLUX_INGEST_TLS_CERT")
    """Certificate chain (PEM). Given with its key: clients are served by HTTPS."""
    tls_key: str = Field("", alias="FILEFLUX_INGEST_TLS_KEY")
    """The certificate's private key (PEM)."""
    region: str = Field("us-east-1", alias="FILEFLUX_INGEST_REGION")
    """The region that signatures and locations name."""
    domains: str = Field("", alias="FILEFLUX_INGEST_DOMAINS")
    """Comma separated host names under which BUCKET.NAME is a bucket's address."""
    open_registration: bool = Field(False, alias="FILEFLUX_INGEST_OPEN_REGISTRATION")
    """Whether POST /create_user is open to everybody, as in the original, or only to root."""

    staging: Literal["directory", "s3"] = Field("directory", alias="FILEFLUX_INGEST_STAGING")
    """Where bundles wait for the nodes: files on this host, or a bucket of another S3 store."""
    staging_dir: Path = Field(Path("fileflux-staging"), alias="FILEFLUX_INGEST_STAGING_DIR")
    """One directory per host, shared by its workers."""
    staging_bytes: int = Field(2048 * MIB, alias="FILEFLUX_INGEST_STAGING_BYTES", ge=64 * MIB)
    """Staged bytes on this host at most; above a worker's share uploads get SlowDown."""
    staging_durable: bool = Field(True, alias="FILEFLUX_INGEST_STAGING_DURABLE")
    """Whether staging outlives this host or pod. `false`: `Prefer: respond-async` is ignored."""
    staging_s3_bucket: str = Field("", alias="FILEFLUX_INGEST_STAGING_S3_BUCKET")
    """The staging bucket."""
    staging_s3_endpoint: str = Field("", alias="FILEFLUX_INGEST_STAGING_S3_ENDPOINT")
    """Its endpoint. Empty: that of AWS."""
    staging_s3_region: str = Field("us-east-1", alias="FILEFLUX_INGEST_STAGING_S3_REGION")
    """Its region."""

    drain_s: float = Field(0.0, alias="FILEFLUX_INGEST_DRAIN_S", ge=0, le=3600)
    """Asked to stop, it serves on for so long and is not ready: balancers look elsewhere first."""
    stop_timeout_s: int = Field(30, alias="FILEFLUX_INGEST_STOP_TIMEOUT_S", ge=1, le=86400)
    """After that, requests in flight have so long to end."""
    head_timeout_s: float = Field(15.0, alias="FILEFLUX_INGEST_HEAD_TIMEOUT_S", gt=0)
    """A connection that has not sent its request's head after this long is closed."""
    requests_max: int = Field(1024, alias="FILEFLUX_INGEST_REQUESTS_MAX", ge=1)
    """Uploads in progress in one worker at most."""
    memory_bytes: int = Field(256 * MIB, alias="FILEFLUX_INGEST_MEMORY_BYTES", ge=32 * MIB)
    """Bodies of all uploads in progress in one worker at most."""
    event_streams_max: int = Field(64, alias="FILEFLUX_INGEST_EVENT_STREAMS_MAX", ge=0)
    """Clients of one worker that follow GET /events at once, at most. 0: none."""
    cache_bytes: int = Field(64 * MIB, alias="FILEFLUX_INGEST_CACHE_BYTES", ge=0)
    """Verified small chunks kept in one worker's memory. 0: none."""

    settle_timeout_s: float = Field(30.0, alias="FILEFLUX_INGEST_SETTLE_TIMEOUT_S", gt=0)
    """After this long without a settlement an upload is aborted and answered 503."""
    silence_s: float = Field(0.5, alias="FILEFLUX_INGEST_SILENCE_S", gt=0)
    """After this long without an answer the database is asked."""
    node_timeout_s: float = Field(10.0, alias="FILEFLUX_INGEST_NODE_TIMEOUT_S", gt=0)
    """One block of a read from a storage node may take this long."""
    hedge_s: float = Field(0.05, alias="FILEFLUX_INGEST_HEDGE_S", gt=0)
    """A small read that takes longer asks a second replica too."""

    @field_validator("master_key")
    @classmethod
    def _check_master_key(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch("[0-9a-fA-F]{64}", value.get_secret_value()):
            raise ValueError("64 hexadecimal digits are needed (openssl rand -hex 32)")
        return value

    @property
    def staging_share_bytes(self) -> int:
        """One worker's part of the host's budget."""
        return self.staging_bytes // self.workers
