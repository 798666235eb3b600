"""What placement reads from its environment."""

from pathlib import Path

from pydantic import Field, SecretStr

from fileflux.core.classes import ClassSettings


class PlacementSettings(ClassSettings):
    """Names in the environment are the aliases."""

    database_url: SecretStr = Field(SecretStr(""), alias="DATABASE_URL")
    """Where the operators' intent is read. Empty: every node is active with weight 1."""
    data_dir: Path = Field(Path("fileflux-placement"), alias="FILEFLUX_PLACEMENT_DATA_DIR")
    """Faust's own directory. Nothing in it matters: it may be lost."""
    group: str = Field("fileflux-placement", alias="FILEFLUX_PLACEMENT_GROUP", min_length=1)
    """The consumer group: one of its workers leads, the others stand by."""
    intents_interval_s: float = Field(5.0, alias="FILEFLUX_PLACEMENT_INTENTS_INTERVAL_S", gt=0)
    """How often the operators' intent is read."""
    session_timeout_s: float = Field(
        10.0, alias="FILEFLUX_PLACEMENT_SESSION_TIMEOUT_S", ge=6, le=60
    )
    """After this long without a sign of the leader, another worker takes over."""
