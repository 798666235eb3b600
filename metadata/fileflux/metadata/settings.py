"""What the metadata processes read from their environment."""

from pydantic import Field, model_validator

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


class SequencerSettings(MetadataSettings):
    """Names in the environment are the aliases."""

    stream: str = Field("main", alias="FILEFLUX_SEQUENCER_STREAM")
    """The stream set that this sequencer numbers."""
    poll_ms: int = Field(100, alias="FILEFLUX_SEQUENCER_POLL_MS", ge=1, le=10_000)
    """How long an idle sequencer rests: about the age of an audit record when it goes out."""


class BothSettings(MaterializerSettings, SequencerSettings):
    """For `all`: one process with both loops."""
