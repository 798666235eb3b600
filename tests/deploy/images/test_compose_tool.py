"""The real Compose takes the files, with CockroachDB and with PostgreSQL in its place."""

import pytest
from tests.deploy.images.compose_file import OURS, SERVICES, resolved

pytestmark = pytest.mark.deploy


def test_compose_takes_the_file() -> None:
    assert set(resolved()["services"]) == set(SERVICES)


def test_with_postgresql_no_node_of_cockroachdb_is_left_and_ours_are_the_same() -> None:
    with_postgres = resolved("docker-compose.yml", "docker-compose.postgres.yml")["services"]
    assert not {name for name in with_postgres if name.startswith("db-")} - {"db-init"}
    assert set(OURS) <= set(with_postgres)
    assert with_postgres["db-init"]["depends_on"] == {
        "postgres": {"condition": "service_healthy", "required": True}
    }
