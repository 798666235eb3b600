"""The charts of Kafka and CockroachDB: linted, commented line by line, described, and refusing."""

import subprocess
from pathlib import Path
from typing import Final

import pytest
from tests.deploy.delivery.chart_files import ROOT, lint_problems, uncommented, undescribed
from tests.deploy.kube.rendered import rendered

CHARTS: Final = ("cockroachdb", "kafka")
MATRIX: Final = [
    (chart, path.name) for chart in CHARTS for path in (ROOT / "helm" / chart).glob("values*.yaml")
]
REFUSED: Final = [
    ("kafka", "brokres.replicas=3", "brokres"),
    ("kafka", "controllers.replicas=2", "controllers"),
    ("kafka", "routes.topics={fileflux.audit}", "routes"),
    ("kafka", "routes.prefixes={FileFlux}", "routes"),
    ("cockroachdb", "replicas=2", "replicas"),
    ("cockroachdb", "image.tag=latest", "tag"),
    ("cockroachdb", "database.user=root", "user"),
    ("cockroachdb", "tls.source=none", "source"),
    ("cockroachdb", "backup.url=http://bucket", "url"),
    ("cockroachdb", "backup.enabled=true", "backup.url"),
]


@pytest.mark.parametrize(("chart", "values"), MATRIX)
def test_the_linter_is_content(chart: str, values: str) -> None:
    assert lint_problems(chart, values) == ""


@pytest.mark.parametrize("chart", CHARTS)
def test_every_value_is_explained_and_described(chart: str) -> None:
    assert uncommented(chart) == []
    assert undescribed(chart) == []


@pytest.mark.parametrize("chart", CHARTS)
def test_there_are_values_for_each_size(chart: str) -> None:
    names = {path.name for path in (ROOT / "helm" / chart).glob("values-*.yaml")}
    assert names == {"values-dev.yaml", "values-prod.yaml", "values-single-node.yaml"}


@pytest.mark.parametrize(("chart", "value", "named"), REFUSED)
def test_a_wrong_value_is_refused_by_name(chart: str, value: str, named: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered(chart, "values.yaml", "--set", value)
    assert named in refused.value.stderr


def test_volumes_are_never_made_in_clear() -> None:
    clear = ("--set-string", "storageClass.parameters.encrypted=false")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered("kafka", "values-prod.yaml", *clear)
    assert "encrypted" in refused.value.stderr


def test_no_chart_holds_a_secret() -> None:
    """Kinds with data of their own come from elsewhere."""
    made = [one["kind"] for chart, values in MATRIX for one in rendered(chart, values)]
    assert "Secret" not in made
    assert Path(ROOT / "helm").is_dir()
