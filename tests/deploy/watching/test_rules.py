"""Every alert fires when it should, stays quiet when all is well, and has a page that exists."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.watching.cases import CASES, Case, Series
from tools.deploy_tools import path_of
from tools.monitoring.catalogue import problems_of
from tools.monitoring.make import FILES, problems, rendered, rules
from tools.monitoring.rule import Alert, Recording

from fileflux.core.settings import CommonSettings

ROOT: Final = Path(__file__).parents[3]
ALERTS: Final = [one for one in rules() if isinstance(one, Alert)]
RULE_FILES: Final = sorted((FILES / "rules").glob("*.yaml"))


def test_what_is_committed_is_what_the_sources_make() -> None:
    """`make monitoring` writes it; an edit by hand would be lost."""
    made = rendered()
    folders = {path.parent for path in made}
    assert {path for folder in folders for path in folder.iterdir()} == set(made)
    assert [path.name for path, text in made.items() if path.read_text() != text] == []


def test_promtool_takes_the_rules() -> None:
    done = _promtool("check", "rules", *map(str, RULE_FILES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_name_in_rules_and_panels_exists() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(fileflux_gone_total[5m])", ["no metric fileflux_gone_total"]),
        (
            'sum by (reason) (fileflux_slow_downs_total{cause="a"})',
            ["fileflux_slow_downs_total has no label cause"],
        ),
        ("histogram_quantile(0.9, rate(fileflux_settle_seconds_bucket[5m]))", []),
        ('up{job="a"} == 0 and on (job) nobody_knows', ["no metric nobody_knows"]),
    ],
)
def test_a_name_that_does_not_exist_is_found(expression: str, wrong: list[str]) -> None:
    assert problems_of(expression) == wrong


def test_every_alert_has_both_cases_and_every_case_an_alert() -> None:
    assert set(CASES) == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("kind", ["firing", "quiet"])
@pytest.mark.parametrize("files", ["slo", "others"])
def test_every_alert_fires_and_stays_quiet(tmp_path: Path, kind: str, files: str) -> None:
    """promtool evaluates the very files of the chart on the series of each case."""
    path = tmp_path / "tests.yaml"
    chosen = [str(file) for file in RULE_FILES if ("slo" in file.name) == (files == "slo")]
    tests = [
        _promtool_test(name, case, kind)
        for name, case in CASES.items()
        if any(f"alert: {name}\n" in Path(file).read_text() for file in chosen)
    ]
    # Windows of days are looked at every quarter of an hour; a minute of them would take minutes.
    every = "15m" if files == "slo" else "1m"
    given = {"rule_files": chosen, "evaluation_interval": every, "tests": tests}
    path.write_text(yaml.safe_dump(given))
    done = _promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _promtool_test(name: str, case: Case, kind: str) -> dict[str, Any]:
    series: Series = getattr(case, kind)
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > bool 0'
    expected = [{"labels": "{}", "value": 1}] if kind == "firing" else []
    expectation = {"expr": firing, "eval_time": f"{case.steps * case.step}m"}
    return {
        "name": f"{name} {kind}",
        "interval": f"{case.step}m",
        "input_series": [{"series": selector, "values": values} for selector, values in series],
        "promql_expr_test": [{**expectation, "exp_samples": expected}],
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_leads_to_its_page(alert: Alert) -> None:
    page = ROOT / alert.runbook
    assert page.exists(), alert.runbook
    text = page.read_text()
    assert "**Look.**" in text
    assert "**Do.**" in text
    assert f"({page.name})" in (page.parent / "README.md").read_text()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_says_what_and_how_bad(alert: Alert) -> None:
    assert alert.name.startswith("FileFlux")
    assert alert.severity in ("page", "ticket")
    assert alert.summary[-1] != "."
    assert alert.description[-1] in ".}"
    # A label that the expression aggregates away would be empty in the sentence.
    for label in re.findall(r"\$labels\.(\w+)", alert.summary + alert.description):
        aggregated = re.findall(r"\b(?:sum|max|count)(?: by \(([^)]*)\))? ?\(", alert.expression)
        assert all(label in by for by in aggregated), (alert.name, label)


def test_recordings_are_named_as_prometheus_advises() -> None:
    names = [one.name for one in rules() if isinstance(one, Recording)]
    assert names
    assert [name for name in names if not re.fullmatch(r"\w+:\w+:\w+", name)] == []


def test_the_threshold_of_staging_is_that_of_the_settings() -> None:
    """The alert cannot know the setting: it stands for the default."""
    from fileflux.ingest.settings import IngestSettings

    assert issubclass(IngestSettings, CommonSettings)
    default = IngestSettings.model_fields["staging_bytes"].default
    alert = next(one for one in ALERTS if one.name == "FileFluxStagingFull")
    assert str(default) in alert.expression


def _promtool(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(path_of("promtool")), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
