"""A real API server that serves kinds of operators: their definitions installed, and waited for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.deploy.kube.api_server import ApiServer, Refused, api_server
from tests.deploy.kube.schemas import definitions

SERVED_S: Final = 60


@contextmanager
def server_with(directory: Path, groups_and_kinds: dict[str, str]) -> Iterator[ApiServer]:
    """`groups_and_kinds`: {kind: "group/version"}; the namespace `fileflux` exists."""
    with api_server(directory) as server:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fileflux"}}
        server.apply(namespace, "", dry_run=False)
        for kind in groups_and_kinds:
            for definition in definitions(f"kind: {kind}\n"):
                server.apply(definition, "", dry_run=False)
        deadline = time.monotonic() + SERVED_S
        while missing := [
            kind for kind, of in groups_and_kinds.items() if not _has(server, of, kind)
        ]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not served: {missing}")
            time.sleep(0.1)
        yield server


def _has(server: ApiServer, version: str, kind: str) -> bool:
    try:
        resources = server.call("GET", f"/apis/{version}")["resources"]
    except Refused:
        return False
    return any(one["kind"] == kind for one in resources)
