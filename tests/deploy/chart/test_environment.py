"""Containers are given what their service reads, nothing else, and values that it takes."""

import json
from typing import Any, Final

import pytest
import yaml
from tests.deploy.chart.matrix import CHART, POINTS, manifests, with_values
from tests.deploy.kube.rendered import Manifest, pods_of
from tools.chart_schema import CLASSES, MANAGED

from fileflux.console.settings_reference import BESIDE, service_settings, variables_of
from fileflux.core.settings import CommonSettings
from fileflux.metadata.settings import ArchiverSettings

FACTS: Final[dict[str, Any]] = yaml.safe_load((CHART / "files/components.yaml").read_text())
COMPONENTS: Final = {name: one for name, one in FACTS.items() if "command" in one}
SETTINGS: Final = dict(service_settings())
OTEL: Final = {name for name, _, _ in BESIDE if name.startswith("OTEL_")}
OF_THE_POD: Final = {"POD_NAME", "POD_IP", "NODE_NAME", "ZONE"}
"""Made by the downward API, for other values to name."""


def class_of(component: str) -> type[CommonSettings]:
    return SETTINGS[CLASSES[COMPONENTS[component]["values"]]]


def known(component: str) -> set[str]:
    """Every variable that the service reads; ingest also opens the archive."""
    archive = variables_of(ArchiverSettings) if component == "ingest" else set()
    return variables_of(class_of(component)) | archive


def containers(found: tuple[Manifest, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Return (component, its environment by name) of every pod of a service."""
    return [
        (container["name"], {one["name"]: one for one in container["env"]})
        for manifest in found
        for template in pods_of(manifest)
        for container in template["spec"]["containers"]
        if container["name"] in COMPONENTS
    ]


@pytest.mark.parametrize("point", POINTS)
def test_a_container_is_given_what_its_service_reads_and_nothing_else(point: str) -> None:
    """A misspelt variable would be ignored, and a forgotten one end the container at once."""
    for component, environment in containers(manifests(point)):
        required = {
            str(info.alias)
            for info in class_of(component).model_fields.values()
            if info.is_required()
        }
        assert set(environment) <= known(component) | OTEL | OF_THE_POD, component
        assert required <= set(environment), component


@pytest.mark.parametrize("point", POINTS)
def test_no_variable_is_given_twice(point: str) -> None:
    for manifest in manifests(point):
        for template in pods_of(manifest):
            for container in template["spec"]["containers"]:
                names = [one["name"] for one in container["env"]]
                assert len(names) == len(set(names)), container["name"]


@pytest.mark.parametrize("point", POINTS)
def test_a_service_starts_with_these_values(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings class itself accepts them, with any secret in place of the Secret's."""
    for component, environment in containers(manifests(point)):
        with monkeypatch.context() as patch:
            for name, one in environment.items():
                patch.setenv(name, one.get("value", "a1" * 32))
            settings = class_of(component)()
        assert settings.log_format == "json"


@pytest.mark.parametrize("point", POINTS)
def test_what_a_value_is_made_of_stands_before_it(point: str) -> None:
    """Kubernetes leaves `$(NAME)` as it is when NAME comes later."""
    for _, environment in containers(manifests(point)):
        seen: set[str] = set()
        for name, one in environment.items():
            value = one.get("value", "")
            used = {other for other in OF_THE_POD if f"$({other})" in value}
            assert used <= seen, name
            assert value.count("$(") == len(used), name
            seen.add(name)
        assert OF_THE_POD & set(environment) <= {
            name
            for name in environment
            if any(f"$({name})" in one.get("value", "") for one in environment.values())
        }


@pytest.mark.parametrize("point", POINTS)
def test_secrets_come_from_secrets_by_the_keys_that_are_agreed(point: str) -> None:
    keys = {key for listed in FACTS["secretKeys"].values() for key in listed}
    for component, environment in containers(manifests(point)):
        for name, one in environment.items():
            reference = one.get("valueFrom", {}).get("secretKeyRef")
            if name == "KAFKA_SASL_PASSWORD" and reference["key"] == "password":
                assert reference["name"] == f"fileflux-{component}"
            elif reference:
                assert reference["key"] == name
            assert (name in keys and name != "KAFKA_SASL_USERNAME") <= (reference is not None)


def test_every_setting_can_be_set_by_one_way_only() -> None:
    """By a value that a template knows, or below `settings`; both lists have nothing unknown."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    every: set[str] = set()
    for key, name in CLASSES.items():
        offered = set(schema["$defs"][f"settings-{key}"]["properties"])
        variables = variables_of(SETTINGS[name])
        every |= variables
        assert offered == variables - MANAGED, key
    assert every >= MANAGED


def test_every_service_has_a_place_in_the_chart() -> None:
    """`metadata all` is for one machine, `metadata` is the migration, the demo is a command."""
    assert set(SETTINGS) - {"metadata all", "console demo"} == set(CLASSES.values())
    assert {one["values"] for one in COMPONENTS.values()} == set(CLASSES)


def test_what_templates_manage_is_set_somewhere_in_the_matrix() -> None:
    """A managed variable that no template ever sets could not be set at all."""
    seen = {
        name
        for point in POINTS
        for _, environment in containers(manifests(point))
        for name in environment
    }
    assert seen >= MANAGED


def test_a_setting_reaches_its_service_and_large_numbers_stay_numbers() -> None:
    found = with_values(
        "ingest.settings.FILEFLUX_INGEST_CACHE_BYTES=134217728",
        "archive.url=s3://other/audit",
        "archive.keepSeconds=31536000",
    )
    environment = dict(containers(found))
    assert environment["ingest"]["FILEFLUX_INGEST_CACHE_BYTES"]["value"] == "134217728"
    assert environment["sequencer"]["FILEFLUX_ARCHIVE_KEEP_S"]["value"] == "31536000"
    assert "FILEFLUX_INGEST_CACHE_BYTES" not in environment["webhooks"]
