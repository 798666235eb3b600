"""docker-compose.yml and the Dockerfile as Compose and Docker read them."""

import json
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from tools.deploy_tools import path_of

from fileflux.console.settings_reference import service_settings
from fileflux.core.settings import CommonSettings

ROOT: Final = Path(__file__).parents[3]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = {name: one for name, one in SERVICES.items() if "build" in one}
OTHERS: Final = {name: one for name, one in SERVICES.items() if "build" not in one}
SUFFIX: Final = "_FILE"


def settings_of(name: str) -> type[CommonSettings]:
    """Return the class that this service of the compose file reads."""
    classes = dict(service_settings())
    if name == "demo":
        return classes["console demo"]
    command = SERVICES[name].get("command")
    if command:
        word = "metadata" if command[0] == "migrate" else f"metadata {command[0]}"
        return classes[word]
    return classes["storage_node" if name.startswith("node-") else name]


def variables_given(name: str) -> dict[str, str]:
    """Setting → how it is given: by value, or by the file that holds it."""
    cls = settings_of(name)
    known = {str(info.alias) for info in cls.model_fields.values()}
    given = {}
    for variable, value in OURS[name]["environment"].items():
        setting = variable.removesuffix(SUFFIX)
        given[variable if variable in known or setting not in known else setting] = value
    return given


@cache
def resolved(*files: str) -> dict[str, Any]:
    """Return what the real Compose makes of the files. Raises CalledProcessError."""
    options = [word for file in files or ("docker-compose.yml",) for word in ("--file", file)]
    command = [str(path_of("compose")), *options, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def image_command(target: str) -> tuple[list[str], list[str]]:
    """Return (entry point, command) of a target of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text()
    stage = text.split(f" AS {target}\n", 1)[1].split("\nFROM ", 1)[0]
    found = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", stage, re.M))
    return json.loads(found.get("ENTRYPOINT", "[]")), json.loads(found.get("CMD", "[]"))


def words_of(command: Any) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command or [])
