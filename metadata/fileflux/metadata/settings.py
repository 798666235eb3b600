"""What the metadata processes read from their environment."""

from pydantic import Field, model_validator

from fileflux.core.settings import DatabaseSettings


class MetadataSettings(DatabaseSettings):
    """For the migration, which needs the database only."""


class MaterializerSettings(DatabaseSettings):
    """Names in the environment are the aliases."""

    lanes_text: str = Field("all", alias="FILEFLUX_MATERIALIZER_LANES")
    """Which lanes this process applies: `all`, or numbers, comma separated."""

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


class SequencerSettings(DatabaseSettings):
    """Names in the environment are the aliases."""

    stream: str = Field("main", alias="FILEFLUX_SEQUENCER_STREAM")
    """The stream set that this sequencer numbers."""
