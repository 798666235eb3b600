"""What console commands read from their environment beside their options."""

from pydantic import Field, SecretStr

from fileflux.core.settings import CommonSettings


class DemoSettings(CommonSettings):
    """Whose files they are that `fileflux demo --endpoint` stores: root's."""

    root_access_key: str = Field(alias="FILEFLUX_ROOT_ACCESS_KEY", min_length=3)
    """The access key of root, who may do everything."""
    root_secret_key: SecretStr = Field(alias="FILEFLUX_ROOT_SECRET_KEY", min_length=8)
    """Its secret key."""
