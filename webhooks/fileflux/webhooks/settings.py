"""What the dispatcher of webhooks and the router read from their environment."""

from pydantic import Field, SecretStr, field_validator

from fileflux.core.settings import DatabaseSettings
from fileflux.webhooks.egress import EgressPolicy, parse_networks


class WebhooksSettings(DatabaseSettings):
    """Names in the environment are the aliases."""

    master_key: SecretStr = Field(alias="FILEFLUX_MASTER_KEY")
    """Decrypts the subscriptions' secrets. 64 hexadecimal digits, the same as ingest's."""
    connections: int = Field(8, alias="FILEFLUX_WEBHOOKS_CONNECTIONS", ge=2, le=100)
    """Connections to the database at most."""
    allowed_networks: str = Field("", alias="FILEFLUX_WEBHOOKS_ALLOWED_NETWORKS")
    """Networks inside that deliveries may go to all the same, comma separated: by http and on any
    port. For development; every subscriber can reach what is named here."""
    allow_http: bool = Field(False, alias="FILEFLUX_WEBHOOKS_ALLOW_HTTP")
    """Whether deliveries to public addresses may go without TLS."""

    routes_topic_partitions: int = Field(
        0, alias="FILEFLUX_ROUTES_TOPIC_PARTITIONS", ge=0, le=10_000
    )
    """A route's topic that does not exist is made with so many. 0: FileFlux makes none."""
    routes_aws_endpoint: str = Field("", alias="FILEFLUX_ROUTES_AWS_ENDPOINT")
    """Whom routes to SQS and SNS ask instead of AWS. Credentials: the standard chain."""
    routes_aws_region: str = Field("us-east-1", alias="FILEFLUX_ROUTES_AWS_REGION", min_length=1)
    """The region of queues whose URL tells none."""

    @field_validator("allowed_networks")
    @classmethod
    def _check_networks(cls, text: str) -> str:
        parse_networks(text)
        return text

    @field_validator("master_key")
    @classmethod
    def _check_master_key(cls, key: SecretStr) -> SecretStr:
        if len(bytes.fromhex(key.get_secret_value())) != 32:
            raise ValueError("64 hexadecimal digits")
        return key

    @property
    def egress_policy(self) -> EgressPolicy:
        return EgressPolicy(
            allowed=parse_networks(self.allowed_networks), allow_http=self.allow_http
        )
