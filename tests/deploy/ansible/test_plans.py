"""Decisions about pools, without a pool: what `zpool status` says, plans, commands, refusals."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from tests.deploy.ansible.machine import ANSIBLE

OPENZFS: Final = Path(__file__).with_name("openzfs_status.txt").read_text()
PREFIX: Final = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"


@pytest.fixture
def modules() -> Iterator[dict[str, Any]]:
    """The modules' shared code, under the name that it has inside Ansible; which is not here."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ansible(name)}
    top, folder = ModuleType("ansible"), ModuleType("ansible.module_utils")
    top.__path__, folder.__path__ = [], [str(ANSIBLE / "module_utils")]
    sys.modules |= {"ansible": top, "ansible.module_utils": folder}
    names = ("zpool", "pool_plan", "pool_commands", "volume_plan")
    yield {name: importlib.import_module(f"ansible.module_utils.{name}") for name in names}
    for name in [name for name in sys.modules if _is_ansible(name)]:
        del sys.modules[name]
    sys.modules |= before


def _is_ansible(name: str) -> bool:
    return name == "ansible" or name.startswith("ansible.")


def pool(*vdevs: tuple[str, int], state: str = "ONLINE") -> dict[str, Any]:
    made = [
        {
            "name": f"{kind}-{number}",
            "kind": kind,
            "state": state,
            "disks": [
                {"path": f"{PREFIX}vol{number}{side}", "state": "ONLINE", "errors": 0, "side": side}
                for side in range(count)
            ],
        }
        for number, (kind, count) in enumerate(vdevs)
    ]
    known = {"name": "fileflux", "state": state, "scan": "none", "expandable_bytes": 0}
    return {**known, "vdevs": made, "is_resilvering": False, "is_scrubbing": False}


def wish(**values: Any) -> dict[str, Any]:
    usual = {"name": "fileflux", "kind": "mirror", "width": 2, "vdevs": 1, "size_gib": 1}
    return {**usual, **values}


def test_a_pool_in_repair_is_read_as_it_is(modules: dict[str, Any]) -> None:
    read = modules["zpool"].parse_status(OPENZFS, "fileflux")
    first, second = read["vdevs"]

    assert (read["state"], read["is_resilvering"]) == ("DEGRADED", True)
    assert [disk["path"] for disk in first["disks"]] == [
        "1234567890",
        f"{PREFIX}vol0c",
        f"{PREFIX}vol0b",
    ]
    assert [disk["side"] for disk in first["disks"]] == [0, 0, 1]
    assert first["disks"][2]["errors"] == 3
    assert len(second["disks"]) == 2
    assert modules["zpool"].redundancy(read) == 1


@pytest.mark.parametrize(
    ("have", "asked", "slots"),
    [
        ([], wish(vdevs=2), ["0-0", "0-1", "1-0", "1-1"]),
        ([("mirror", 2)], wish(), []),
        ([("mirror", 2)], wish(vdevs=2), ["1-0", "1-1"]),
        ([("mirror", 2), ("mirror", 2)], wish(vdevs=2, width=3), ["0-2", "1-2"]),
        ([("mirror", 2)], wish(vdevs=2, width=3), ["0-2", "1-0", "1-1", "1-2"]),
        ([("raidz2", 5)], wish(kind="raidz2", width=5, vdevs=2), [f"1-{n}" for n in range(5)]),
        ([("disk", 1)], wish(), ["0-1"]),
    ],
)
def test_a_plan_asks_for_exactly_what_is_missing(
    modules: dict[str, Any], have: list[Any], asked: dict[str, Any], slots: list[str]
) -> None:
    plan = modules["pool_plan"].expand_plan(pool(*have) if have else None, [], asked)

    assert plan["refusals"] == []
    assert plan["slots"] == slots
    assert bool(plan["lines"]) == bool(slots)


@pytest.mark.parametrize(
    ("topology", "asked", "reason"),
    [
        (pool(("mirror", 2)), wish(width=1), "no redundancy"),
        (pool(("mirror", 3)), wish(), "less redundant"),
        (pool(("mirror", 2), ("mirror", 2)), wish(), "none is removed"),
        (pool(("mirror", 2)), wish(kind="raidz1", width=3), "keeps one kind"),
        (pool(("raidz1", 3)), wish(kind="raidz1", width=4), "does not widen"),
        (pool(("mirror", 2), state="DEGRADED"), wish(vdevs=2), "repair"),
        ({**pool(("mirror", 2)), "is_resilvering": True}, wish(vdevs=2), "wait"),
        (None, wish(kind="stripe"), "no redundancy"),
        (None, wish(kind="raidz2", width=2), "no redundancy or no data"),
    ],
)
def test_a_wish_that_weakens_is_refused_with_its_reason(
    modules: dict[str, Any], topology: Any, asked: dict[str, Any], reason: str
) -> None:
    plan = modules["pool_plan"].expand_plan(topology, [], asked)

    assert reason in "; ".join(plan["refusals"])
    assert plan["slots"] == plan["grow"] == []


def test_only_smaller_volumes_of_the_pool_grow(modules: dict[str, Any]) -> None:
    volumes = [
        {"id": "vol-00", "size": 1},
        {"id": "vol-01", "size": 2},
        {"id": "vol-99", "size": 1},
    ]

    plan = modules["pool_plan"].expand_plan(pool(("mirror", 2)), volumes, wish(size_gib=2))

    assert plan["grow"] == [{"volume_id": "vol-00", "from_gib": 1}]


def test_the_module_refuses_by_itself_what_a_plan_would_have_refused(
    modules: dict[str, Any],
) -> None:
    """Somebody may call it without the plan."""
    commands, problem = modules["pool_commands"].commands_for, modules["zpool"].PoolProblem
    asked = {"name": "fileflux", "kind": "mirror", "create": False}

    def refused(topology: Any, vdevs: list[list[str]], **more: Any) -> str:
        with pytest.raises(problem) as told:
            commands(topology, {**asked, "vdevs": vdevs, **more})
        return str(told.value)

    assert "survives 1 lost" in refused(pool(("mirror", 2)), [["/dev/x"]])
    assert "survives 2 lost" in refused(pool(("mirror", 3)), [["/dev/x", "/dev/y"]])
    assert "no raidz1" in refused(pool(("mirror", 2)), [["/a", "/b", "/c"]], kind="raidz1")
    assert "named twice" in refused(pool(("mirror", 2)), [["/dev/x", "/dev/x"]])
    assert "not whole" in refused(pool(("mirror", 2), state="DEGRADED"), [["/a", "/b"]])
    assert "no pool" in refused(None, [["/a", "/b"]])
    mixed = [[f"{PREFIX}vol00", f"{PREFIX}vol10"]]
    assert "not one vdev" in refused(pool(("mirror", 2), ("mirror", 2)), [*mixed, ["/a", "/b"]])


def test_names_of_volumes_and_devices_fit_each_other(modules: dict[str, Any]) -> None:
    names = modules["volume_plan"]

    assert names.volume_of(names.device_of("vol-0a1b2c")) == "vol-0a1b2c"
    assert names.volume_of("/dev/sda") == ""
    assert names.free_device(["/dev/sda1", "/dev/sdf", "/dev/xvdg"]) == "/dev/sdh"
    assert names.free_device([f"/dev/sd{letter}" for letter in "fghijklmnop"]) is None
