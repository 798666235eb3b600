"""The reference pages are made from the code, so they cannot be wrong; they can only be old."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from fileflux.console import metrics_reference, settings_reference
from fileflux.ingest import s3_reference
from fileflux.ingest.operations import OPERATIONS

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"
PRODUCT: Final = sorted(ROOT.glob("*/fileflux/**/*.py"))
VARIABLE: Final = re.compile(r"\b(?:FILEFLUX|KAFKA)_[A-Z0-9_]*[A-Z0-9]\b")
FAILPOINT: Final = re.compile(r'\bfailpoint\("([a-z_.]+)"\)')


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_reference", ROOT / "tools/make_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES: Final[Mapping[str, Callable[[], str]]] = maker().PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    """Otherwise: make docs."""
    render = PAGES[name]
    assert (REFERENCE / name).read_text() == render()


def test_every_setting_says_what_it_is() -> None:
    """A table of names explains nothing."""
    silent = [
        f"{cls.__name__}.{field}"
        for cls in _settings_classes()
        for field in vars(cls).get("__annotations__", {})
        if field != "model_config" and not settings_reference.descriptions(cls).get(field)
    ]
    assert silent == []


def test_no_variable_is_read_that_the_page_does_not_name() -> None:
    page = (REFERENCE / "settings.md").read_text()
    texts = [path.read_text() for path in PRODUCT]
    used = {name for text in texts for name in re.findall(r'"([A-Z_0-9]+)"', text)}
    ours = {name for name in used if VARIABLE.fullmatch(name)}
    assert ours
    assert sorted(name for name in ours if f"`{name}`" not in page) == []


def test_every_settings_class_is_on_the_page() -> None:
    """The page looks for modules called `settings`: a class anywhere else would be forgotten."""
    known = {cls.__name__ for cls in _settings_classes()}
    declared = {
        name
        for path in PRODUCT
        for name in re.findall(r"^class (\w+Settings)\(.*Settings.*\):", path.read_text(), re.M)
    }
    assert declared == known


def test_every_metric_and_every_operation_is_on_its_page() -> None:
    names = [metric.name for metric in metrics_reference.metrics()]
    assert len(set(names)) == len(names) > 40
    page = metrics_reference.render()
    assert [name for name in names if f"`{name}`" not in page] == []
    rows = s3_reference.render().splitlines()
    assert [one.name for one in OPERATIONS if not any(f"| {one.name} |" in r for r in rows)] == []


def test_every_failpoint_is_described_and_every_description_has_its_failpoint() -> None:
    """The fault tests kill at each of these points; who reads a report has to know where it was."""
    in_code = {name for path in PRODUCT for name in FAILPOINT.findall(path.read_text())}
    page = (REFERENCE / "failpoints.md").read_text()
    assert in_code == set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))


def _settings_classes() -> list[type]:
    shared = [cls for _, cls in settings_reference.SHARED]
    return [*shared, *(cls for _, cls in settings_reference.service_settings())]
