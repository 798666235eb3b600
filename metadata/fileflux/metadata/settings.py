"""What the metadata processes read from their environment."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from fileflux.core.settings import DatabaseSettings


class MetadataSettings(DatabaseSettings):
    """For all of them; the migration needs no more."""

    connections: int = Field(4, alias="FILEFLUX_METADATA_CONNECTIONS", ge=2, le=100)
    """Connections of one process to the database at most."""


class MaterializerSettings(MetadataSettings):
    """Names in the environment are the aliases."""

    lanes_text: str = Field("all", alias="FILEFLUX_MATERIALIZER_LANES")
    """Which lanes this process applies: `all`, or numbers, comma separated."""
    memory_mib: int = Field(64, alias="FILEFLUX_MATERIALIZER_MEMORY_MIB", ge=1)
    """Seals that wait for nodes at most, by the size of their records; the rest wait in Kafka."""

    @model_validator(mode="after")
    def _check_lanes(self) -> "MaterializerSettings":
        if self.lanes_text != "all" and not all(
            part.strip().isdigit() and int(part) < self.lanes for part in self.lanes_text.split(",")
        ):
            raise ValueError(
                f"FILEFLUX_MATERIALIZER_LANES is `all`, or numbers below {self.lanes} with commas"
            )
        return self

    @property
    def own_lanes(self) -> tuple[int, ...]:
        if self.lanes_text == "all":
            return tuple(range(self.lanes))
        return tuple(sorted({int(part) for part in self.lanes_text.split(",")}))


class ArchiverSettings(MetadataSettings):
    """Where old ranges of the audit stream go, and when. The sequencer reads them too."""

    stream: str = Field("main", alias="FILEFLUX_SEQUENCER_STREAM")
    """The stream set to number, and to archive."""

    archive_url: str = Field("", alias="FILEFLUX_ARCHIVE_URL")
    """file:///directory, or s3://bucket/prefix of an S3 that is not FileFlux. Empty: no archive."""
    archive_endpoint: str = Field("", alias="FILEFLUX_ARCHIVE_ENDPOINT")
    """That S3's address. Empty: AWS."""
    archive_region: str = Field("us-east-1", alias="FILEFLUX_ARCHIVE_REGION")
    """Its region."""
    archive_access_key: str = Field("", alias="FILEFLUX_ARCHIVE_ACCESS_KEY")
    """Empty: the standard chain of credentials is asked."""
    archive_secret_key: SecretStr = Field(SecretStr(""), alias="FILEFLUX_ARCHIVE_SECRET_KEY")
    """Belongs to that access key."""
    archive_after_s: float = Field(300.0, alias="FILEFLUX_ARCHIVE_AFTER_S", gt=0)
    """A published record waits at most this long for enough others to fill a segment."""
    archive_keep_s: float = Field(0.0, alias="FILEFLUX_ARCHIVE_KEEP_S", ge=0)
    """Published and archived records leave the database when they are older. 0: they stay."""

    @field_validator("archive_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        is_directory = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
        if url and not is_directory and not (parts.scheme == "s3" and parts.netloc):
            raise ValueError("FILEFLUX_ARCHIVE_URL is file:///directory or s3://bucket/prefix")
        return url


class SequencerSettings(ArchiverSettings):
    """Names in the environment are the aliases."""

    poll_ms: int = Field(100, alias="FILEFLUX_SEQUENCER_POLL_MS", ge=1, le=10_000)
    """How long an idle sequencer rests: about the age of an audit record when it goes out."""
    audit_key_file: str = Field("", alias="FILEFLUX_AUDIT_KEY_FILE")
    """The key that signs checkpoints, made by `fileflux audit key new`. Empty: none are signed."""
    checkpoint_records: int = Field(100_000, alias="FILEFLUX_CHECKPOINT_RECORDS", ge=1)
    """A checkpoint is signed after so many records ..."""
    checkpoint_s: float = Field(60.0, alias="FILEFLUX_CHECKPOINT_S", gt=0)
    """... or after so long, whichever comes first, if there are new records."""


class BothSettings(MaterializerSettings, SequencerSettings):
    """For `all`: one process with both loops."""
