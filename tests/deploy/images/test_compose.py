"""docker-compose.yml starts what exists, with settings that exist, and holds no secret.

No container runs here: this reads the file and compares it with the Dockerfile, the settings
classes and the code. `test_compose_tool.py` asks the real Compose; `test_compose_runs.py` starts
the services without Docker.
"""

import re
import runpy
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import SecretStr
from tests.deploy.images.compose_file import (
    COMPOSE,
    OTHERS,
    OURS,
    ROOT,
    SERVICES,
    settings_of,
    variables_given,
)

from fileflux.console.settings_reference import BESIDE, variables_of
from fileflux.core.classes import parse_classes
from fileflux.core.setting_files import SUFFIX

REFERENCE: Final = re.compile(r"\$\{(\w+)(:?[-?][^}]*)?\}")
PINNED: Final = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?")
JOBS: Final = {"migrate", "db-certificates", "db-init", "demo"}
"""They end, and others wait for that."""


def test_every_service_of_the_design_is_there() -> None:
    services = {"ingest", "placement", "materializer", "sequencer", "archiver", "webhooks"}
    nodes = {name for name in OURS if name.startswith("node-")}
    assert set(OURS) - nodes == services | {"migrate", "demo"}
    classes = parse_classes(OURS["ingest"]["environment"]["FILEFLUX_CLASSES"])
    assert len(nodes) >= classes["STANDARD"].replicas
    assert {"kafka", "db-1", "db-2", "db-3", "db-init", "prometheus", "grafana"} <= set(OTHERS)


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_what_it_reads_and_nothing_else(name: str) -> None:
    """A misspelt variable would be ignored, and a forgotten one end the container at once."""
    cls = settings_of(name)
    required = {str(info.alias) for info in cls.model_fields.values() if info.is_required()}
    beside = {variable for variable, _, _ in BESIDE if variable.startswith("OTEL_")}
    assert set(variables_given(name)) <= variables_of(cls) | beside
    assert required <= set(variables_given(name))


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_with_these_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings class itself accepts them, once the secrets are there."""
    for variable, value in variables_given(name).items():
        secret = value.startswith("/run/secrets/")
        monkeypatch.setenv(variable, "a1" * 32 if secret else REFERENCE.sub(_filled_in, value))
    settings_of(name)()


@pytest.mark.parametrize("name", OURS)
def test_secrets_are_files_and_only_those_that_the_service_reads_are_mounted(name: str) -> None:
    environment = OURS[name]["environment"]
    fields = settings_of(name).model_fields.values()
    for secret in (str(info.alias) for info in fields if info.annotation is SecretStr):
        assert secret not in environment
    read = {Path(value).name for value in environment.values() if value.startswith("/run/secrets/")}
    assert set(OURS[name].get("secrets", [])) == read


def test_a_variable_that_names_a_secret_file_ends_as_the_settings_say() -> None:
    for one in OURS.values():
        for variable, value in one["environment"].items():
            assert variable.endswith(SUFFIX) == value.startswith("/run/secrets/")


def test_others_get_their_passwords_by_files_too() -> None:
    for name, one in OTHERS.items():
        named = [variable for variable in one.get("environment", {}) if "PASSWORD" in variable]
        assert [variable for variable in named if not variable.endswith(SUFFIX)] == [], name


def test_every_secret_is_declared_used_and_made(tmp_path: Path) -> None:
    used = {secret for one in SERVICES.values() for secret in one.get("secrets", [])}
    files = {name: one["file"] for name, one in COMPOSE["secrets"].items()}
    made = _make_secrets(tmp_path / "secrets")
    assert used == set(files)
    assert {Path(file).name for file in files.values()} <= set(made)
    assert {str(Path(file).parent) for file in files.values()} == {"secrets"}


def test_secrets_are_made_once_and_nobody_else_may_enter_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = _make_secrets(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert _make_secrets(folder) == made
    (folder / "master-key").unlink()
    again = _make_secrets(folder)
    assert [name for name in made if made[name] != again[name]] == ["master-key"]


def test_targets_are_the_dockerfiles() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M))
    assert {one["build"]["target"] for one in OURS.values()} <= targets
    assert [name for name, one in OURS.items() if one["build"]["target"] not in one["image"]] == []


def test_images_of_others_are_pinned() -> None:
    """`latest` is another program every month."""
    assert [name for name, one in OTHERS.items() if not PINNED.fullmatch(one["image"])] == []


def test_what_stays_up_tells_its_health_and_what_it_waits_for_exists() -> None:
    for name, one in SERVICES.items():
        assert (one["restart"] == "no") == (name in JOBS), name
        has_check = "test" in one.get("healthcheck", {})
        assert has_check == (name not in JOBS), name
        for other, rule in one.get("depends_on", {}).items():
            ends = "service_completed_successfully"
            expected = ends if other in JOBS else "service_healthy"
            assert rule["condition"] == expected, (name, other)


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_may_do_no_more_than_it_needs(name: str) -> None:
    one = OURS[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_only_who_speaks_to_others_is_on_the_network_that_leads_out() -> None:
    outside = {name for name, one in SERVICES.items() if "outside" in one.get("networks", [])}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert outside == {"ingest", "webhooks", "prometheus", "grafana"}


def test_ports_are_published_on_loopback_unless_somebody_says_otherwise() -> None:
    for name, one in SERVICES.items():
        for port in one.get("ports", []):
            assert REFERENCE.sub(_filled_in, port).startswith("127.0.0.1:"), name


def test_every_volume_is_declared_and_every_declared_one_is_used() -> None:
    """An undeclared one is an error, an unused one somebody's data that nobody mounts."""
    mounts = [mount for one in SERVICES.values() for mount in one.get("volumes", [])]
    used = {mount.partition(":")[0] for mount in mounts}
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])


def test_every_file_that_is_mounted_exists() -> None:
    for one in SERVICES.values():
        for mount in one.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), mount


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


def test_prometheus_scrapes_every_service_and_nothing_else() -> None:
    config = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text())
    scraped = {
        target for job in config["scrape_configs"] for target in job["static_configs"][0]["targets"]
    }
    expected = {f"{name}:9100" for name in OURS if name not in JOBS}
    expected |= {f"{name}:9134" for name in OURS if name.startswith("node-")}
    assert scraped == expected | {f"db-{number}:8080" for number in (1, 2, 3)}


def _filled_in(match: re.Match[str]) -> str:
    rule = match[2] or ""
    return rule[2:] if rule.startswith(":-") else "a1" * 32


def _make_secrets(path: Path) -> dict[str, str]:
    made: dict[str, Any] = runpy.run_path(str(ROOT / "tools/make_secrets.py"))
    made["make"](path)
    return {one.name: one.read_text() for one in path.iterdir()}
