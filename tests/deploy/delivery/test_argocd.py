"""argocd/: everything comes in its order, from places that a project names."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.kube.rendered import CHARTS as ALL_CHARTS
from tests.deploy.kube.rendered import rendered
from tests.deploy.kube.schemas import problems
from tools.deploy_tools import path_of

ROOT: Final = Path(__file__).parents[3]
BEFORE: Final = {"karpenter", "external-dns", "logging"}
"""Nodes, names and logs are there before Argo CD runs: docs/how-to/deploy-aws.md installs them."""
CHARTS: Final = [chart for chart in ALL_CHARTS if chart.name not in BEFORE]
ARGOCD: Final = ROOT / "argocd"
BOOTSTRAP: Final = ARGOCD / "bootstrap"
ENVIRONMENTS: Final = ("dev", "prod")
URL: Final = "https://git.example.net/of/a-test.git"
WAVE: Final = "argocd.argoproj.io/sync-wave"
CLUSTER_SCOPED: Final = {"StorageClass", "Namespace"}
Manifest = dict[str, Any]


@cache
def apps(environment: str) -> tuple[Manifest, ...]:
    command = [str(path_of("helm")), "template", "apps", str(ARGOCD / "apps")]
    command += ["--values", str(ARGOCD / f"apps/values-{environment}.yaml")]
    command += ["--set", f"repository.url={URL}", "--set", "repository.revision=main"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(filter(None, yaml.safe_load_all(text)))


def of_kind(kind: str, environment: str) -> list[Manifest]:
    return [one for one in apps(environment) if one["kind"] == kind]


def project(name: str, environment: str) -> Manifest:
    (found,) = [
        one
        for one in of_kind("AppProject", environment)
        if one["metadata"]["name"] == f"{name}-{environment}"
    ]
    spec: Manifest = found["spec"]
    return spec


def root() -> list[Manifest]:
    items: list[Manifest] = yaml.safe_load((BOOTSTRAP / "root.yaml").read_text())["items"]
    return items


def test_the_repositorys_address_stands_in_one_place() -> None:
    """Whoever forks it changes one line; everything else is made from it."""
    address = root()[0]["spec"]["sourceRepos"][0]
    text = {path: path.read_text() for path in ARGOCD.rglob("*.yaml")}
    assert sum(one.count(address) for one in text.values()) == 1
    assert root()[1]["spec"]["template"]["spec"]["source"]["repoURL"] == address
    others = [
        path.name
        for path, one in text.items()
        if re.search(r"https?://\S+\.git\b", one.replace(address, ""))
    ]
    assert others == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_object_is_of_its_definition(environment: str) -> None:
    found = {
        one["metadata"]["name"]: wrong for one in apps(environment) if (wrong := problems(one))
    }
    assert found == {}
    assert [problems(one) for one in root()] == [[], []]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_waves_bring_definitions_operators_database_and_kafka_and_then_fileflux(
    environment: str,
) -> None:
    waves = {
        one["metadata"]["name"].removesuffix(f"-{environment}"): int(
            one["metadata"]["annotations"][WAVE]
        )
        for one in apps(environment)
        if one["kind"] == "Application"
    }
    projects = {
        int(one["metadata"]["annotations"][WAVE]) for one in of_kind("AppProject", environment)
    }
    ours = {name for name in waves if name.startswith("fileflux-")}
    operators = set(waves) - ours
    assert max(projects) < min(waves.values())
    assert waves["istio-base"] < waves["istiod"] < waves["istio-ingressgateway"]
    assert max(waves[name] for name in operators) < waves["fileflux-kafka"]
    assert waves["fileflux-kafka"] == waves["fileflux-cockroachdb"] < waves["fileflux-services"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_chart_of_ours_has_an_application_whose_files_exist(environment: str) -> None:
    paths = set()
    for one in of_kind("Application", environment):
        source = one["spec"]["source"]
        if "path" not in source:
            continue
        paths.add(source["path"])
        assert (source["repoURL"], source["targetRevision"]) == (URL, "main")
        for name in source["helm"]["valueFiles"]:
            if (ROOT / source["path"]).joinpath("Chart.yaml").exists():
                assert (ROOT / source["path"] / name).exists(), name
    assert {f"helm/{chart.name}" for chart in CHARTS} <= paths


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_an_environment_sets_is_taken_by_the_charts(environment: str) -> None:
    for chart in CHARTS:
        extra = [ARGOCD / f"environments/{environment}/{chart.name}.yaml"]
        if chart.name == "fileflux":
            extra.append(ARGOCD / f"environments/{environment}/images.yaml")
        options = [word for path in extra for word in ("--values", str(path))]
        assert rendered(chart.name, f"values-{environment}.yaml", *options)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_project_allows_what_our_charts_make_and_no_secret(environment: str) -> None:
    spec = project("fileflux", environment)
    allowed = {(one["group"], one["kind"]) for one in spec["namespaceResourceWhitelist"]}
    of_the_cluster = {(one["group"], one["kind"]) for one in spec["clusterResourceWhitelist"]}
    made = {
        (one["apiVersion"].rpartition("/")[0], one["kind"])
        for chart in CHARTS
        for path in chart.glob("values*.yaml")
        for one in rendered(chart.name, path.name)
    }
    assert made - allowed - of_the_cluster == set()
    assert {kind for _, kind in of_the_cluster} == CLUSTER_SCOPED
    assert "Secret" not in {kind for _, kind in allowed}
    assert ("*", "*") not in allowed | of_the_cluster


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_application_stays_within_its_project(environment: str) -> None:
    for one in of_kind("Application", environment):
        spec = project(one["spec"]["project"].removesuffix(f"-{environment}"), environment)
        assert one["spec"]["source"]["repoURL"] in spec["sourceRepos"]
        assert one["spec"]["destination"] in spec["destinations"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_project_allows_any_source_or_any_place(environment: str) -> None:
    for one in [*of_kind("AppProject", environment), root()[0]]:
        spec = one["spec"]
        assert "*" not in str(spec["sourceRepos"])
        assert "*" not in str(spec["destinations"])


def test_the_root_makes_projects_and_applications_only() -> None:
    (made, applications) = root()
    kinds = {one["kind"] for one in made["spec"]["namespaceResourceWhitelist"]}
    assert kinds == {"AppProject", "Application"}
    assert made["spec"]["clusterResourceWhitelist"] == []
    assert applications["spec"]["syncPolicy"]["preserveResourcesOnDeletion"] is True


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_comes_from_elsewhere_has_an_exact_version_and_is_never_pruned(
    environment: str,
) -> None:
    foreign = [
        one for one in of_kind("Application", environment) if "chart" in one["spec"]["source"]
    ]
    assert foreign
    for one in foreign:
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", one["spec"]["source"]["targetRevision"])
        assert one["spec"]["syncPolicy"]["automated"]["prune"] is False


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_roll_outs_weights_are_not_put_back(environment: str) -> None:
    (services,) = [
        one
        for one in of_kind("Application", environment)
        if one["metadata"]["name"] == f"fileflux-services-{environment}"
    ]
    (weights,) = [
        one for one in services["spec"]["ignoreDifferences"] if one["kind"] == "VirtualService"
    ]
    assert ".spec.http[].route[].weight" in weights["jqPathExpressions"]
    assert "RespectIgnoreDifferences=true" in services["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_mesh_leaves_the_paths_of_objects_alone(environment: str) -> None:
    (istiod,) = [
        one
        for one in of_kind("Application", environment)
        if one["metadata"]["name"] == f"istiod-{environment}"
    ]
    mesh = istiod["spec"]["source"]["helm"]["valuesObject"]["meshConfig"]
    assert mesh["pathNormalization"] == {"normalization": "NONE"}


def test_an_unknown_environment_is_refused() -> None:
    command = [str(path_of("helm")), "template", "apps", str(ARGOCD / "apps")]
    command += ["--set", f"repository.url={URL}", "--set", "environment=staging"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "dev or prod" in done.stderr


@pytest.mark.deploy
def test_kubectl_builds_the_bootstrap_with_every_health_check() -> None:
    command = [str(path_of("kubectl")), "kustomize", str(BOOTSTRAP)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (config,) = [one for one in yaml.safe_load_all(text) if one["kind"] == "ConfigMap"]
    assert (config["metadata"]["name"], config["metadata"]["namespace"]) == ("argocd-cm", "argocd")
    assert len(config["data"]) == len(list((BOOTSTRAP / "health").glob("*.lua")))
