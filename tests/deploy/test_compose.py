"""docker-compose.yml starts what exists, with settings that exist, and holds no secret.

No container runs here: this reads the file as Compose would and compares it with the Dockerfile
and the settings classes.
"""

import re
import runpy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import SecretStr

from fileflux.console.settings_reference import BESIDE, service_settings, variables_of
from fileflux.core.classes import parse_classes
from fileflux.core.settings import CommonSettings

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = {name: one for name, one in SERVICES.items() if "build" in one}
OTHERS: Final = {name: one for name, one in SERVICES.items() if "build" not in one}
REFERENCE: Final = re.compile(r"\$\{(\w+)(:?[-?][^}]*)?\}")
PINNED: Final = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?")


def settings_of(name: str) -> type[CommonSettings]:
    """Return the class that this service of the compose file reads."""
    classes = dict(service_settings())
    command = SERVICES[name].get("command")
    if command:
        word = "metadata" if command[0] == "migrate" else f"metadata {command[0]}"
        return classes[word]
    return classes["storage_node" if name.startswith("node-") else name]


def test_every_service_of_the_design_is_there() -> None:
    expected = {"ingest", "placement", "materializer", "sequencer", "webhooks", "migrate"}
    nodes = {name for name in OURS if name.startswith("node-")}
    assert set(OURS) - nodes == expected
    assert (
        len(nodes)
        >= parse_classes(OURS["ingest"]["environment"]["FILEFLUX_CLASSES"])["STANDARD"].replicas
    )


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_what_it_reads_and_nothing_else(name: str) -> None:
    """A misspelt variable would be ignored, and a forgotten one end the container at once."""
    cls = settings_of(name)
    environment = OURS[name]["environment"]
    required = {str(info.alias) for info in cls.model_fields.values() if info.is_required()}
    beside = {variable for variable, _, _ in BESIDE if variable.startswith("OTEL_")}
    assert set(environment) <= variables_of(cls) | beside
    assert required <= set(environment)


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_with_these_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings class itself accepts them, once `.env` is filled in."""
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, REFERENCE.sub(_filled_in, value))
    settings_of(name)()


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_the_env_file_and_have_no_default(name: str) -> None:
    """`${NAME:?…}` refuses to start; a default would be everybody's password."""
    environment = SERVICES[name].get("environment", {})
    for variable in _secrets_of(name) & set(environment):
        references = REFERENCE.findall(environment[variable])
        assert references, variable
        assert all(rule.startswith(":?") for _, rule in references), variable


def test_make_secrets_makes_every_secret_that_is_asked_for(tmp_path: Path) -> None:
    """And an env file that exists is never written again."""
    made = _make_secrets(tmp_path / ".env")
    asked = {
        variable
        for variable, rule in REFERENCE.findall((ROOT / "docker-compose.yml").read_text())
        if rule.startswith(":?")
    }
    assert set(made) == asked
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert _make_secrets(tmp_path / ".env") == made


def test_targets_are_the_dockerfiles() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M))
    assert {one["build"]["target"] for one in OURS.values()} <= targets
    assert [name for name, one in OURS.items() if one["build"]["target"] not in one["image"]] == []


def test_images_of_others_are_pinned() -> None:
    """`latest` is another program every month."""
    assert [name for name, one in OTHERS.items() if not PINNED.fullmatch(one["image"])] == []


def test_what_stays_up_tells_its_health_and_what_it_waits_for_exists() -> None:
    lasting = {name for name, one in SERVICES.items() if one["restart"] != "no"}
    assert {name for name, one in SERVICES.items() if "healthcheck" in one} == lasting
    for name, one in OURS.items():
        waits = one.get("depends_on", {})
        assert set(waits) <= set(SERVICES), name
        for other, rule in waits.items():
            healthy = "service_healthy" if other in lasting else "service_completed_successfully"
            assert rule["condition"] == healthy, (name, other)


def test_every_volume_is_declared_and_every_declared_one_is_used() -> None:
    """An undeclared one is an error, an unused one somebody's data that nobody mounts."""
    used = {
        mount.partition(":")[0] for one in SERVICES.values() for mount in one.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_addresses_name_services() -> None:
    """A service is reached by its name in this file, on the port that it was told to listen on."""
    for name in OURS:
        environment = OURS[name]["environment"]
        for prefix in ("FILEFLUX_NODE", "FILEFLUX_INGEST"):
            url = environment.get(f"{prefix}_ADVERTISED_URL")
            port = environment.get(
                "FILEFLUX_INGEST_INTERNAL_PORT" if "INGEST" in prefix else f"{prefix}_PORT"
            )
            assert url in (None, f"http://{name}:{port}")


def _secrets_of(name: str) -> set[str]:
    if name in OTHERS:
        return {variable for variable in OTHERS[name]["environment"] if "PASSWORD" in variable}
    fields = settings_of(name).model_fields.values()
    return {str(info.alias) for info in fields if info.annotation is SecretStr}


def _filled_in(match: re.Match[str]) -> str:
    rule = match[2] or ""
    return rule[2:] if rule.startswith(":-") else "a1" * 32


def _make_secrets(path: Path) -> dict[str, str]:

    runpy.run_path(str(ROOT / "tools/make_secrets.py"))["make"](path)
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
