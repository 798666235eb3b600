"""The environment becomes a frozen settings object, and every problem is reported at once.

A service derives its own class from `CommonSettings` and calls `load_settings` in `__main__`. Any
setting NAME may stand in a file that NAME_FILE names.
Secrets have no defaults: a service without them does not start.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fileflux.core.errors import Invalid
from fileflux.core.setting_files import values_from_files


class SettingsInvalid(Invalid):
    """The environment is wrong. The message lists every problem, a line each."""


class CommonSettings(BaseSettings):
    """What every service reads. Names in the environment are the aliases."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", alias="KAFKA_BOOTSTRAP_SERVERS")
    """host:port, comma separated."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", alias="KAFKA_SECURITY_PROTOCOL"
    )
    """Whether the broker is reached by TLS (SSL), by a password (SASL), by both or by neither."""
    kafka_sasl_mechanism: str = Field("SCRAM-SHA-256", alias="KAFKA_SASL_MECHANISM")
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; used by the two SASL protocols."""
    kafka_sasl_username: str = Field("", alias="KAFKA_SASL_USERNAME")
    """Who we are to the broker."""
    kafka_sasl_password: SecretStr = Field(SecretStr(""), alias="KAFKA_SASL_PASSWORD")
    """That user's password."""
    kafka_ca_file: str = Field("", alias="KAFKA_CA_FILE")
    """Certificates (PEM) that the broker's is checked with. Empty: those of the system."""

    lanes: int = Field(4, alias="FILEFLUX_LANES", ge=1, le=1024)
    """Partitions of the seals' topics. Never changed for existing topics."""
    slots: int = Field(8, alias="FILEFLUX_SLOTS", ge=1, le=4096)
    """Partitions of the assignments' topic. Never changed for an existing topic."""

    log_format: Literal["auto", "json", "plain"] = Field("auto", alias="FILEFLUX_LOG_FORMAT")
    """One JSON object a line, or readable lines. auto: readable on a terminal, else JSON."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="FILEFLUX_LOG_LEVEL"
    )
    """The least important entries that are written."""
    ops_host: str = Field("127.0.0.1", alias="FILEFLUX_OPS_HOST")
    """Where the ops port listens. It asks for no password: keep it inside."""
    ops_port: int = Field(0, alias="FILEFLUX_OPS_PORT", ge=0, le=65535)
    """Health and metrics. 0 takes a free port."""
    ready_file: str = Field("", alias="FILEFLUX_READY_FILE")
    """Where to write {"pid", "ports"} as JSON once the service serves. Empty: nowhere."""


class ClusterSettings(CommonSettings):
    """For services that speak HTTP with each other."""

    cluster_secret: SecretStr = Field(alias="FILEFLUX_CLUSTER_SECRET", min_length=16)
    """Signs internal requests. At least 16 characters, the same for every service."""


class DatabaseSettings(CommonSettings):
    """For services that reach the database."""

    database_url: SecretStr = Field(alias="DATABASE_URL")
    """postgresql://user:password@host:port/name; CockroachDB speaks it too."""


Settings = TypeVar("Settings", bound=CommonSettings)


def load_settings(cls: type[Settings]) -> Settings:
    """Read the environment; raise SettingsInvalid that lists every problem at once."""
    values, problems = values_from_files(cls)
    try:
        made = cls(**values)  # type: ignore[arg-type]  # By alias, as in the environment.
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            problems.setdefault(name, _explain(name, problem))
    if problems:
        raise SettingsInvalid("These settings are wrong:\n  " + "\n  ".join(problems.values()))
    return made


def _explain(name: str, problem: Mapping[str, object]) -> str:
    return f"{name} is not set" if problem["type"] == "missing" else f"{name}: {problem['msg']}"
