"""What Elasticsearch and Kibana are given knows every field that the code logs, and no other."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from tests.deploy.logs.fluent_bit import FILES, ROOT
from tools.logs import kibana
from tools.logs.fields import ACCESS, FILEFLUX, SHARED, all_fields
from tools.logs.make import FOLDER, files

LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
OF_THE_LOGGER: Final = {"exc_info"}
LINES: Final = (ROOT / "helm/logging/files/logstash/lines.conf").read_text()


def logged() -> Iterator[tuple[str, Path]]:
    """Every keyword that the services' code gives to its logger."""
    for path in sorted(ROOT.glob("*/fileflux/**/*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _is_logging(node.func):
                for keyword in node.keywords:
                    names = [keyword.arg] if keyword.arg else _returned(tree, keyword.value)
                    yield from ((name, path) for name in names)


def _is_logging(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def _returned(tree: ast.Module, value: ast.expr) -> list[str]:
    """The keys of `**name(…)`, a function beside it that returns a dict."""
    assert isinstance(value, ast.Call), ast.unparse(value)
    assert isinstance(value.func, ast.Name), ast.unparse(value)
    made = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == value.func.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Dict)
    ]
    return [str(ast.literal_eval(key)) for one in made for key in one.keys if key]


def test_every_field_that_the_code_logs_has_a_type() -> None:
    found = {name: path.name for name, path in logged() if name not in OF_THE_LOGGER}
    assert len(found) > 30
    assert {name: path for name, path in found.items() if name not in FILEFLUX} == {}


def test_no_field_is_kept_that_nobody_logs() -> None:
    by_others = {"stream_name"}
    assert set(FILEFLUX) - {name for name, _ in logged()} - by_others == set()


def test_what_is_made_is_what_stands_in_the_repository() -> None:
    """`python -m tools.logs.make` writes it again."""
    assert {name: (FOLDER / name).read_text() for name in files()} == files()


def test_the_template_has_every_field_at_its_path() -> None:
    mappings = json.loads(files()["index-template.json"])["template"]["mappings"]
    assert mappings["dynamic"] is False
    assert dict(_leaves(mappings["properties"], "")) == all_fields()


def _leaves(properties: dict[str, Any], before: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, one in properties.items():
        if "properties" in one:
            yield from _leaves(one["properties"], f"{before}{name}.")
        else:
            yield f"{before}{name}", one


def test_logstash_renames_to_fields_of_the_template() -> None:
    renamed = re.findall(r'=>\s*"\[(\w[\w\]\[]*)\]"', LINES)
    targets = {name.replace("][", ".") for name in renamed}
    assert len(targets) > 8
    assert targets - set(all_fields()) == set()


def test_the_proxys_fields_are_those_of_its_parser() -> None:
    shape = (FILES / "shape.lua").read_text().split("local ACCESS = {")[1].split("}")[0]
    assert {word.strip().strip('"') for word in shape.split(",")} - {""} == set(ACCESS)


def test_kibana_shows_columns_that_exist_and_names_objects_that_are_there() -> None:
    assert kibana.columns_unknown() == []
    objects = [json.loads(line) for line in files()["kibana.ndjson"].splitlines()]
    there = {(one["type"], one["id"]) for one in objects}
    assert len(there) == len(objects)
    named = {(one["type"], one["id"]) for each in objects for one in each["references"]}
    assert named - there == set()


def test_kibana_asks_for_fields_that_exist() -> None:
    words = " ".join(search.query for search in kibana.SEARCHES).replace("(", " ").split()
    asked = {word.rstrip(":") for word in words if word.endswith(":") or word.startswith("access.")}
    assert asked - {"data_stream.dataset"} - set(all_fields()) == set()


def test_lines_that_cloudwatch_alarms_on_are_called_so_by_the_filter() -> None:
    alarms = (ROOT / "terraform/modules/logs/alarms.tf").read_text()
    assert '$.level = \\"error\\" || $.level = \\"critical\\"' in alarms
    assert "log.level" in SHARED


class Elastic(HTTPServer):
    """Notes what it is asked, and answers as Elasticsearch and Kibana do."""

    def __init__(self, success: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.success = success
        self.asked: list[tuple[str, str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Elastic

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        key = self.headers["authorization"]
        self.server.asked.append((self.command, self.path, key, body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"success": self.server.success}).replace(" ", "").encode())

    do_POST = do_PUT

    def log_message(self, *_: object) -> None:
        """Quiet."""


def install(tmp_path: Path, server: Elastic) -> subprocess.CompletedProcess[str]:
    key = tmp_path / "key"
    key.write_text("aWQ6a2V5\n")
    environment = {"ELASTICSEARCH_URL": server.url, "KIBANA_URL": server.url}
    environment |= {"API_KEY_FILE": str(key), "PATH": "/usr/bin:/bin"}
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        return subprocess.run(
            ["bash", str(FOLDER / "install.sh")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_installer_brings_policy_template_and_views(tmp_path: Path) -> None:
    server = Elastic(success=True)
    done = install(tmp_path, server)
    assert done.returncode == 0, done.stderr
    assert [(method, path) for method, path, *_ in server.asked] == [
        ("PUT", "/_ilm/policy/fileflux-logs"),
        ("PUT", "/_index_template/fileflux-logs"),
        ("POST", "/api/saved_objects/_import?overwrite=true"),
    ]
    assert {key for _, _, key, _ in server.asked} == {"ApiKey aWQ6a2V5"}
    assert json.loads(server.asked[1][3]) == json.loads(files()["index-template.json"])
    assert files()["kibana.ndjson"].encode() in server.asked[2][3]


def test_the_installer_fails_when_kibana_took_no_view(tmp_path: Path) -> None:
    done = install(tmp_path, Elastic(success=False))
    assert done.returncode == 1
    assert "Kibana did not take" in done.stderr


@pytest.mark.parametrize("name", ["ELASTICSEARCH_URL", "KIBANA_URL", "API_KEY_FILE"])
def test_the_installer_says_what_it_needs(name: str) -> None:
    given = {
        "ELASTICSEARCH_URL": "a",
        "KIBANA_URL": "b",
        "API_KEY_FILE": "c",
        "PATH": "/usr/bin:/bin",
    }
    environment = {key: value for key, value in given.items() if key != name}
    script = ["bash", str(FOLDER / "install.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert name in done.stderr
