"""Draining and upgrading: FileFlux is asked and told, others are counted, a broken run goes on.

The pool is real. FileFlux's command is a program that keeps intents in a file and answers as
`fileflux admin node list|set --json` does, and nodes are little servers that tell their readiness.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deploy.ansible.machine import Node, Run
from tests.deploy.ansible.test_pools_for_real import BROKEN, bare, done, node, twice_and_checked

__all__ = ["bare", "node"]
pytestmark = [pytest.mark.deploy, pytest.mark.zfs, pytest.mark.timeout(3600)]
OTHERS: Final = ("node-2", "node-3", "node-4")
FILEFLUX: Final = """#!/usr/bin/python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("intents.json")
intents = json.loads(kept.read_text()) if kept.exists() else {}
words = sys.argv[1:]
if words[:3] == ["admin", "node", "list"]:
    print(json.dumps({"nodes": [{"node": k, **v} for k, v in intents.items()]}))
elif words[:3] == ["admin", "node", "set"] and words[4] in ("active", "drain"):
    weight = float(words[words.index("--weight") + 1]) if "--weight" in words else 1.0
    intents[words[3]] = {"intent": words[4], "weight": weight}
    kept.write_text(json.dumps(intents))
    with kept.with_name("history").open("a") as history:
        history.write(f"{words[3]} {words[4]}\\n")
    print("{}")
else:
    sys.exit(2)
"""
DUE: Final = """
- name: See which version is installed
  ansible.builtin.stat:
    path: "{{ test_root }}/upgraded"
  register: test_upgraded
- name: Say what is due
  ansible.builtin.set_fact:
    node_upgrade_due: "{{ [] if test_upgraded.stat.exists else ['the new version'] }}"
"""
STEP: Final = """
- name: Install the new version
  ansible.builtin.copy:
    dest: "{{ test_root }}/upgraded"
    content: new
    mode: "0600"
"""


class Fleet:
    """Four nodes: the first has the pool, the others are an identity and a readiness."""

    def __init__(self, first: Node) -> None:
        self.first, self.root = first, first.root
        self.ready = {name: True for name in ("node-1", *OTHERS)}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for name in ("node-1", *OTHERS):
            (self.root / name).mkdir()
            (self.root / name / "node-id").write_text(f"id-of-{name}\n")
        program = self.root / "fileflux"
        program.write_text(FILEFLUX)
        program.chmod(0o755)
        (self.root / "due.yml").write_text(DUE)
        (self.root / "step.yml").write_text(STEP)
        first.variables |= self._variables("node-1")
        first.more_nodes = {name: self._variables(name) for name in OTHERS}

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        ready = self.ready

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if ready[self.path.strip("/")] else 503)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        return Handler

    def _variables(self, name: str) -> dict[str, Any]:
        return {
            "node_drain_data_dir": str(self.root / name),
            "node_drain_ready_url": f"http://127.0.0.1:{self.server.server_port}/{name}",
            "node_drain_fileflux": str(self.root / "fileflux"),
            "node_upgrade_marker": str(self.root / "marker"),
            "node_upgrade_due_file": str(self.root / "due.yml"),
            "node_upgrade_step_file": str(self.root / "step.yml"),
            "node_upgrade_ready_tries": 2,
            "node_upgrade_ready_delay_s": 1,
            "test_root": str(self.root),
        }

    def intents(self) -> dict[str, str]:
        path = self.root / "intents.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        return {name: str(said["intent"]) for name, said in kept.items()}

    def forget(self) -> None:
        for name in ("upgraded", "intents.json", "history", "marker"):
            (self.root / name).unlink(missing_ok=True)

    def play(self, playbook: str, *options: str, **more: Any) -> Run:
        return self.first.play(playbook, *options, target="node-1", **more)


@pytest.fixture
def fleet(node: Node) -> Iterator[Fleet]:
    made = Fleet(node)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_node_is_drained_once_and_only_while_enough_others_are_ready(fleet: Fleet) -> None:
    fleet.ready["node-3"] = False
    refused = fleet.play("drain_node.yml")
    assert refused.status == 2
    assert "2 other nodes are ready and active, 3 are needed" in refused.failures
    assert fleet.intents() == {}

    fleet.ready["node-3"] = True
    changed = twice_and_checked(fleet.first, "drain_node.yml", target="node-1")
    assert len(changed) == 1
    assert fleet.intents() == {"id-of-node-1": "drain"}

    # The drained one does not count for the next.
    refused = fleet.first.play("drain_node.yml", target="node-2")
    assert "2 other nodes" in refused.failures


def test_several_nodes_are_not_drained_by_one_run(fleet: Fleet) -> None:
    refused = fleet.first.play("drain_node.yml")

    assert refused.status == 2
    assert "one node" in refused.failures
    assert fleet.intents() == {}


def test_an_upgrade_drains_upgrades_and_gives_back_and_then_has_nothing_to_do(
    fleet: Fleet,
) -> None:
    changed = twice_and_checked(fleet.first, "upgrade_node.yml", target="node-1")

    assert [name.split(" : ")[-1] for name in changed] == [
        "Remember what the node is for",
        "Let placement give it nothing new",
        "Install the new version",
        "Let placement use it again",
        "Forget what it was for",
    ]
    history = (fleet.root / "history").read_text().split("\n")
    assert history == ["id-of-node-1 drain", "id-of-node-1 active", ""]
    assert not (fleet.root / "marker").exists()


def test_a_node_that_people_had_drained_is_not_given_back(fleet: Fleet) -> None:
    done(fleet.play("drain_node.yml"))

    done(fleet.play("upgrade_node.yml"))

    assert fleet.intents() == {"id-of-node-1": "drain"}
    assert (fleet.root / "upgraded").exists()


def test_an_upgrade_is_refused_when_uploads_would_stop_or_the_pool_is_not_whole(
    fleet: Fleet,
) -> None:
    fleet.ready |= {"node-2": False, "node-3": False}
    assert "1 other nodes" in fleet.play("upgrade_node.yml").failures
    fleet.ready |= {"node-2": True, "node-3": True}
    disk = f"/dev/disk/by-id/{fleet.first.vdevs()[0][0]}"
    fleet.first.zfs("zpool", "offline", "fileflux", disk)
    assert "is not whole" in fleet.play("upgrade_node.yml").failures
    assert fleet.intents() == {}
    assert not (fleet.root / "upgraded").exists()


def test_an_upgrade_that_breaks_at_any_event_ends_with_the_node_in_use(fleet: Fleet) -> None:
    breaks, finished = 0, 0
    for event in range(1, 200):
        fleet.forget()
        broken = fleet.play("upgrade_node.yml", break_at=event)
        if broken.status == 0:
            break
        assert broken.status == BROKEN, broken.output[-3_000:]
        breaks += 1
        started = (fleet.root / "marker").exists() or (fleet.root / "upgraded").exists()
        if started:
            done(fleet.play("upgrade_node.yml"))
            assert fleet.intents() == {"id-of-node-1": "active"}
            assert (fleet.root / "upgraded").exists()
            assert not (fleet.root / "marker").exists()
            finished += 1
    print(f"{breaks} breaks, {finished} after the plan: the node in use after the next run")
    assert finished > 15


def test_the_exporter_is_waited_for_until_it_tells_the_new_size(node: Node, tmp_path: Path) -> None:
    """An exporter that never tells it stops the run, and no other node is touched."""
    (tmp_path / "metrics").write_text('zfs_pool_size_bytes{pool="fileflux"} 1.0e+06\n')
    handler = type(
        "Files",
        (http.server.SimpleHTTPRequestHandler,),
        {
            "__init__": lambda self, *a: http.server.SimpleHTTPRequestHandler.__init__(
                self, *a, directory=str(tmp_path)
            ),
            "log_message": lambda *_: None,
        },
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        node.variables |= {
            "zfs_expand_exporter_url": f"http://127.0.0.1:{server.server_port}/metrics",
            "zfs_expand_exporter_tries": 1,
        }
        refused = node.play("expand_pool.yml")
        assert refused.status == 2
        assert "node reports the size" in refused.results[-1]["task"]
        assert "Task failed" not in refused.failures
        (tmp_path / "metrics").write_text('zfs_pool_size_bytes{pool="fileflux"} 1.065353216e+09\n')
        done(node.play("expand_pool.yml"))
        server.shutdown()
