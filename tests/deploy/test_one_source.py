"""Code, Compose, chart, scrapes, alerts, Terraform, Argo CD and the docs name the same things.

The code decides: services are its settings classes, ports and secrets are theirs. What was added
there and forgotten elsewhere fails here. Each file's own tests look at it more closely.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import SecretStr
from tests.deploy.images.compose_file import OURS
from tools.monitoring import alerts

from fileflux.console.settings_reference import service_settings
from fileflux.core.settings import CommonSettings
from fileflux.storage_node.settings import NodeSettings

ROOT: Final = Path(__file__).parents[2]
SETTINGS: Final = dict(service_settings())
COMPONENTS: Final = {
    "ingest": "ingest",
    "placement": "placement",
    "materializer": "metadata materializer",
    "sequencer": "metadata sequencer",
    "archiver": "metadata archiver",
    "webhooks": "webhooks",
    "storage-node": "storage_node",
}
"""Component → the service of the code. What is no service of a deployment stands in OTHERS."""
OTHERS: Final = {"metadata", "metadata all", "console demo"}
JOBS: Final = {"migrate", "demo"}
PORTS: Final = {"s3": 9000, "ops": 9100, "exporter": 9134, "node": 9200, "internal": 9300}
FACTS: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "helm/fileflux/files/components.yaml").read_text()
)


def test_every_service_of_the_code_is_a_component() -> None:
    """A new settings class is a new service, or stands among the others with a reason."""
    assert set(SETTINGS) == set(COMPONENTS.values()) | OTHERS


PLACES: Final = {
    "Compose": {re.sub(r"^node-\d$", "storage-node", name) for name in OURS} - JOBS,
    "the chart": {name for name, one in FACTS.items() if "command" in one} - JOBS,
    "alerts": set(alerts.OURS.split("|")),
    "Compose's Prometheus": {
        job["job_name"]
        for job in yaml.safe_load((ROOT / "compose/prometheus.yml").read_text())["scrape_configs"]
    }
    - {"pool", "cockroachdb"},
}


@pytest.mark.parametrize("place", PLACES)
def test_every_component_is_in(place: str) -> None:
    assert PLACES[place] == set(COMPONENTS)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_argo_cd_pins_an_image_of_every_component(environment: str) -> None:
    images = yaml.safe_load((ROOT / f"argocd/environments/{environment}/images.yaml").read_text())
    expected = {FACTS[name]["values"] for name in COMPONENTS} | {"migrate"}
    assert set(images) == expected


def test_every_image_that_the_chart_runs_is_a_target_of_the_dockerfile() -> None:
    targets = set(re.findall(r" AS ([\w-]+)$", (ROOT / "Dockerfile").read_text(), re.M))
    assert {one["image"] for one in FACTS.values() if "image" in one} <= targets


def test_compose_and_the_chart_start_the_same_module() -> None:
    for name in COMPONENTS:
        module = FACTS[name]["command"][2]
        package = COMPONENTS[name].split()[0]
        assert module == f"fileflux.{package}"


def test_ports_are_the_same_everywhere() -> None:
    exposed = re.findall(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.M)
    in_images = {int(port) for line in exposed for port in line.split()}
    in_compose = {
        int(value)
        for one in OURS.values()
        for name, value in one["environment"].items()
        if name.endswith("_PORT")
    }
    text = "".join(path.read_text() for path in (ROOT / "helm/fileflux/templates").glob("*.yaml"))
    text += "".join(path.read_text() for path in (ROOT / "helm/fileflux/templates").glob("*.tpl"))
    named = set(re.findall(r"name: (\w+), (?:port|containerPort): (\d+)", text))
    assert in_images == in_compose == set(PORTS.values())
    assert {(name, int(port)) for name, port in named} == set(PORTS.items())
    assert NodeSettings.model_fields["exporter_port"].default == PORTS["exporter"]


def secrets_of_the_code() -> set[str]:
    return {
        str(field.alias)
        for name in COMPONENTS.values()
        for field in SETTINGS[name].model_fields.values()
        if field.annotation is SecretStr
    }


def test_every_secret_of_the_code_has_a_place() -> None:
    """In the chart's Secrets, in Terraform's, and, if a service needs it, in Compose's."""
    in_chart = {key for keys in FACTS["secretKeys"].values() for key in keys}
    terraform = (ROOT / "terraform/modules/secrets/main.tf").read_text()
    # Who archives to AWS has a role; who archives elsewhere names a Secret of theirs.
    optional = {"FILEFLUX_ARCHIVE_SECRET_KEY"}
    for secret in sorted(secrets_of_the_code() - optional):
        assert secret in in_chart, secret
        assert re.search(rf"\b{secret}\s*=", terraform), secret


def test_compose_gives_every_secret_that_a_service_cannot_start_without() -> None:
    given = {name for one in OURS.values() for name in one["environment"]}
    required = {
        str(field.alias)
        for name in COMPONENTS.values()
        for field in SETTINGS[name].model_fields.values()
        if field.annotation is SecretStr and field.is_required()
    }
    assert {f"{name}_FILE" for name in required} <= given


def test_every_service_has_its_settings_on_the_page() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    for name in COMPONENTS.values():
        cls: type[CommonSettings] = SETTINGS[name]
        assert f"\n## {name}\n" in page
        for field in cls.model_fields.values():
            assert f"`{field.alias}`" in page, (name, field.alias)
