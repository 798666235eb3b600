"""The health checks in Lua, run as Argo CD runs them: an object in, a status out."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lupa import LuaRuntime

ROOT: Final = Path(__file__).parents[3]
BOOTSTRAP: Final = ROOT / "argocd/bootstrap"
Case = tuple[str, dict[str, Any], str]


def health(name: str, obj: dict[str, Any]) -> tuple[str, str]:
    """Run a check on an object; return (status, message)."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    lua.globals().obj = _table(lua, obj)
    result = lua.execute((BOOTSTRAP / f"health/{name}.lua").read_text())
    return str(result.status), str(result.message)


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _table(lua, one) for key, one in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, one) for one in value])
    return value


def obj(*conditions: tuple[str, str, str], generation: int = 2, seen: int = 2) -> dict[str, Any]:
    """Return an object with conditions (type, status, reason), and what its operator has seen."""
    return {
        "metadata": {"generation": generation},
        "status": {
            "observedGeneration": seen,
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": "why"}
                for kind, status, reason in conditions
            ],
        },
    }


NEW: Final[dict[str, Any]] = {"metadata": {"generation": 1}}
PAUSED: Final[dict[str, Any]] = {
    "metadata": {"annotations": {"strimzi.io/pause-reconciliation": "true"}}
}
CASES: Final[list[Case]] = [
    ("kafka", NEW, "Progressing"),
    ("kafka", obj(("Ready", "True", "")), "Healthy"),
    ("kafka", obj(("Ready", "True", ""), seen=1), "Progressing"),
    ("kafka", obj(("NotReady", "True", "Creating")), "Progressing"),
    ("kafka", obj(("NotReady", "True", "InvalidResourceException")), "Degraded"),
    ("kafka", obj(("Warning", "True", "x"), ("Ready", "True", "")), "Healthy"),
    ("kafka", PAUSED, "Suspended"),
    ("kafka-user", NEW, "Progressing"),
    ("kafka-user", obj(("Ready", "True", "")), "Healthy"),
    ("kafka-user", obj(("Ready", "True", ""), seen=1), "Progressing"),
    ("kafka-user", obj(("NotReady", "True", "InvalidResourceException")), "Degraded"),
    ("certificate", NEW, "Progressing"),
    ("certificate", obj(("Ready", "True", "Ready")), "Healthy"),
    ("certificate", obj(("Ready", "False", "DoesNotExist")), "Progressing"),
    ("certificate", obj(("Ready", "False", "Expired")), "Degraded"),
    (
        "certificate",
        obj(("Ready", "False", "DoesNotExist"), ("Issuing", "False", "Failed")),
        "Degraded",
    ),
    ("issuer", NEW, "Progressing"),
    ("issuer", obj(("Ready", "True", "")), "Healthy"),
    ("issuer", obj(("Ready", "False", "ErrGetKeyPair")), "Degraded"),
]


@pytest.mark.parametrize(("name", "one", "status"), CASES)
def test_an_object_is_judged_as_it_is(name: str, one: dict[str, Any], status: str) -> None:
    assert health(name, one)[0] == status


@pytest.mark.parametrize(
    ("sync", "status", "phase", "expected"),
    [
        ("Synced", "Healthy", "Succeeded", "Healthy"),
        ("Synced", "Progressing", "Succeeded", "Progressing"),
        ("Synced", "Degraded", "Succeeded", "Degraded"),
        ("OutOfSync", "Healthy", "Succeeded", "Progressing"),
        ("OutOfSync", "Healthy", "Failed", "Degraded"),
        ("OutOfSync", "Missing", "Running", "Progressing"),
    ],
)
def test_a_wave_waits_until_a_child_is_in_sync_and_well(
    sync: str, status: str, phase: str, expected: str
) -> None:
    """Healthy but out of sync: some of its objects could not be made."""
    state = {
        "sync": {"status": sync},
        "health": {"status": status},
        "operationState": {"phase": phase},
    }
    assert health("application", {"metadata": {}, "status": state})[0] == expected


def test_every_check_is_given_to_argo_cd_and_has_cases() -> None:
    kustomization = yaml.safe_load((BOOTSTRAP / "kustomization.yaml").read_text())
    files = kustomization["configMapGenerator"][0]["files"]
    names = {path.stem for path in (BOOTSTRAP / "health").glob("*.lua")}
    assert {one.partition("=")[2] for one in files} == {f"health/{name}.lua" for name in names}
    assert names == {name for name, _, _ in CASES} | {"application"}


def test_a_bad_state_says_why() -> None:
    assert health("kafka", obj(("NotReady", "True", "X")))[1] == "why"
