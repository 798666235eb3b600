"""What a service of the local system is given of a person's environment."""

from pathlib import Path

import pytest

from fileflux.console.data_dir import Credentials
from fileflux.console.services import Backends, ClusterOptions, common_env


def test_services_get_what_is_meant_for_them_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "FILEFLUX_LANES": "2"}
    for name, value in {**given, "AWS_SECRET_ACCESS_KEY": "mine"}.items():
        monkeypatch.setenv(name, value)
    options = ClusterOptions(data_dir=tmp_path, cache_dir=tmp_path)
    credentials = Credentials(
        cluster_secret="c",
        master_key="m",
        root_access_key="r",
        root_secret_key="s",
        postgres_password="p",
    )
    backends = Backends(kafka_bootstrap_servers="k:1", database_url="postgresql://d")

    env = common_env(options, credentials, backends)

    assert given.items() <= env.items()
    assert "AWS_SECRET_ACCESS_KEY" not in env
