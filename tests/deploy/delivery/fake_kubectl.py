"""A kubectl that keeps one VirtualService and some pods in a file: `fake_kubectl.py STATE ARGS…`.

It knows what tools/traffic_ports.py asks: get and a JSON patch, with the server's resourceVersion.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(state_path: Path, arguments: list[str]) -> int:
    state = json.loads(state_path.read_text())
    if state.get("gone"):
        print("Unable to connect to the server", file=sys.stderr)
        return 1
    words = [one for one in arguments if not one.startswith("-")]
    words = words[1:] if "--namespace" in arguments else words
    if words[0] == "get" and words[1] == "pods":
        print(json.dumps({"items": state["pods"]}))
        return 0
    kind, _, name = words[1].partition("/")
    if kind != "virtualservices.networking.istio.io" or name != state["object"]["metadata"]["name"]:
        print(f'Error from server (NotFound): {kind} "{name}" not found', file=sys.stderr)
        return 1
    if words[0] == "patch":
        text = next(one.partition("=")[2] for one in arguments if one.startswith("--patch="))
        if not _applied(state["object"], json.loads(text)):
            print("Error from server: the test operation failed", file=sys.stderr)
            return 1
        metadata = state["object"]["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        state["history"] = [*state.get("history", []), weights(state["object"])]
        state_path.write_text(json.dumps(state))
    print(json.dumps(state["object"]))
    return 0


def weights(route: dict[str, Any]) -> list[int]:
    return [one["weight"] for http in route["spec"]["http"] for one in http["route"]]


def _applied(document: dict[str, Any], patch: list[dict[str, Any]]) -> bool:
    for operation in patch:
        *way, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"][1:].split("/")
        ]
        place: Any = document
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if operation["op"] == "test" and place.get(last) != operation["value"]:
            return False
        if operation["op"] == "add":
            place[last] = operation["value"]
        if operation["op"] == "remove":
            del place[last]
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
