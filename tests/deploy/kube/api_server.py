"""A real kube-apiserver and its etcd, on loopback, with the operators' definitions installed.

No kubelet, no controllers: objects are validated, defaulted and admitted as in a cluster, and
nothing runs. `make test-deploy` builds both (4 minutes the first time).
"""

import contextlib
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tools.deploy_tools import path_of

from fileflux.console.loopback_ports import free_tcp_ports

START_S: Final = 60
Manifest = dict[str, Any]


class Refused(Exception):
    """The server's own sentence."""


@dataclass
class ApiServer:
    """Speaks to one server. `warnings` has what it warned of, of all requests."""

    port: int
    token: str
    certificate: Path
    warnings: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any = None, media: str = "json") -> Any:
        """Return the parsed answer. Raises Refused for any status from 400 up."""
        connection = HTTPSConnection("127.0.0.1", self.port, context=self._context, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": f"application/{media}"}
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        self.warnings += answer.headers.get_all("Warning") or []
        if answer.status >= 400:
            raise Refused(json.loads(text)["message"] if text.startswith(b"{") else text.decode())
        return json.loads(text) if text.startswith(b"{") else text.decode()

    def apply(self, manifest: Manifest, namespace: str, *, dry_run: bool = True) -> Manifest:
        """Server-side apply with strict fields. Raises Refused."""
        name = manifest["metadata"]["name"]
        query = "fieldManager=tests&fieldValidation=Strict&force=true"
        path = f"{self._collection(manifest, namespace)}/{name}?{query}"
        dry = "&dryRun=All" if dry_run else ""
        return dict(self.call("PATCH", path + dry, manifest, "apply-patch+yaml"))

    def create(self, manifest: Manifest, namespace: str) -> Manifest:
        """A dry creation, which runs every admission plugin. Raises Refused."""
        path = f"{self._collection(manifest, namespace)}?dryRun=All&fieldValidation=Strict"
        return dict(self.call("POST", path, manifest))

    def _collection(self, manifest: Manifest, namespace: str) -> str:
        version, kind = manifest["apiVersion"], manifest["kind"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for resource in self.call("GET", base)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                where = manifest["metadata"].get("namespace", namespace)
                scope = f"/namespaces/{where}" if resource["namespaced"] else ""
                return f"{base}{scope}/{resource['name']}"
        raise Refused(f"no kind {kind} in {version}")

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


@contextlib.contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    """Start both in this directory, and stop them in the end."""
    token, (port,) = secrets.token_hex(16), free_tcp_ports(1)
    (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    _write_key(directory / "accounts.key")
    with _etcd(directory) as etcd, _process(_server_command(directory, port, etcd), directory):
        server = ApiServer(port, token, directory / "certificates" / "apiserver.crt")
        _wait(lambda: server.call("GET", "/readyz") == "ok", directory)
        yield server


@contextlib.contextmanager
def _etcd(directory: Path) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_tcp_ports(2))
    command = [str(path_of("etcd")), f"--data-dir={directory / 'etcd'}", "--log-level=error"]
    command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    command += [f"--initial-cluster=default={peer}", "--unsafe-no-fsync"]
    with _process(command, directory):
        yield client


def _server_command(directory: Path, port: int, etcd: str) -> list[str]:
    key = directory / "accounts.key"
    return [
        str(path_of("kube-apiserver")),
        f"--etcd-servers={etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        # Nobody makes service accounts here; that pods name theirs is a test of the charts.
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
    ]


@contextlib.contextmanager
def _process(command: list[str], directory: Path) -> Iterator[None]:
    log = directory / f"{Path(command[0]).name}.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(is_ready: Callable[[], bool], directory: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, Refused):
            if is_ready():
                return
        time.sleep(0.1)
    raise TimeoutError((directory / "kube-apiserver.log").read_text()[-2000:])


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
