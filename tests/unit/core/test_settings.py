"""Start-up fails early, with every problem listed at once."""

import pytest
from pydantic import Field

from fileflux.core.settings import ClusterSettings, SettingsInvalid, load_settings


class _Service(ClusterSettings):
    port: int = Field(alias="FILEFLUX_TEST_PORT", ge=0, le=65535)


def test_every_wrong_setting_is_listed_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEFLUX_TEST_PORT", "70000")
    monkeypatch.setenv("FILEFLUX_LANES", "many")
    monkeypatch.delenv("FILEFLUX_CLUSTER_SECRET", raising=False)

    with pytest.raises(SettingsInvalid) as caught:
        load_settings(_Service)

    message = str(caught.value)
    assert "FILEFLUX_CLUSTER_SECRET is not set" in message
    assert "FILEFLUX_TEST_PORT" in message
    assert "FILEFLUX_LANES" in message


def test_a_wrong_secret_is_not_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEFLUX_TEST_PORT", "1")
    monkeypatch.setenv("FILEFLUX_CLUSTER_SECRET", "tooshort-777")

    with pytest.raises(SettingsInvalid) as caught:
        load_settings(_Service)

    assert "FILEFLUX_CLUSTER_SECRET" in str(caught.value)
    assert "tooshort-777" not in str(caught.value)
