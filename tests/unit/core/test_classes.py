"""Storage classes from the environment's text."""

import pytest

from fileflux.core.classes import ClassSettings, classes_for, parse_classes
from fileflux.core.model import StorageClass
from fileflux.core.settings import SettingsInvalid, load_settings


def test_classes_are_read_in_the_order_they_were_written() -> None:
    classes = parse_classes(" COLD:2:1, STANDARD:3:2,")

    assert list(classes.values()) == [StorageClass("COLD", 2, 1), StorageClass("STANDARD", 3, 2)]


@pytest.mark.parametrize(
    "text",
    ["", ",", "A", "A:1", "A:1:1:1", "a:1:1", "A:0:0", "A:1:2", "A:17:2", "A:-1:1", "A:1:1,A:2:1"],
)
def test_a_wrong_text_is_refused_with_its_setting_named(text: str) -> None:
    with pytest.raises(ValueError, match="FILEFLUX_CLASSES"):
        parse_classes(text)


@pytest.mark.parametrize(
    ("nodes", "expected"), [(0, (1, 1)), (1, (1, 1)), (2, (2, 2)), (3, (3, 2)), (9, (3, 2))]
)
def test_a_small_system_stores_as_often_as_its_nodes_allow(
    nodes: int, expected: tuple[int, int]
) -> None:
    standard = parse_classes(classes_for(nodes))["STANDARD"]

    assert (standard.replicas, standard.quorum) == expected


def test_a_default_class_that_is_not_defined_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FILEFLUX_CLASSES", "A:1:1")

    with pytest.raises(SettingsInvalid, match="STANDARD"):
        load_settings(ClassSettings)


def test_the_settings_give_the_classes_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEFLUX_CLASSES", "A:1:1")
    monkeypatch.setenv("FILEFLUX_DEFAULT_CLASS", "A")

    assert load_settings(ClassSettings).storage_classes == {"A": StorageClass("A", 1, 1)}
