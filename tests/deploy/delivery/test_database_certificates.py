"""The job that makes the database's certificates, against an API server's Secrets and real TLS."""

import base64
import datetime
import json
import runpy
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509

ROOT: Final = Path(__file__).parents[3]
SCRIPT: Final = runpy.run_path(str(ROOT / "helm/cockroachdb/files/make_certificates.py"))
NAMES: Final = ["localhost", "cockroachdb-public", "*.cockroachdb.fileflux.svc.cluster.local"]
VALID: Final = datetime.timedelta(days=90)
NOW: Final = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
TOKEN: Final = "of-a-service-account"


class SecretsApi(BaseHTTPRequestHandler):
    """GET, POST and PUT of Secrets, as the API server answers them."""

    kept: dict[str, dict[str, Any]]
    refuses = False

    def do_GET(self) -> None:
        self._answer(200 if self._name in self.kept else 404, self.kept.get(self._name, {}))

    def do_POST(self) -> None:
        body = self._body()
        name = body["metadata"]["name"]
        if name in self.kept:
            self._answer(409, {})
            return
        self.kept[name] = body
        self._answer(201, body)

    def do_PUT(self) -> None:
        self.kept[self._name] = self._body()
        self._answer(200, self.kept[self._name])

    @property
    def _name(self) -> str:
        return self.path.rpartition("/")[2]

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        if self.headers["Authorization"] != f"Bearer {TOKEN}" or self.refuses:
            status = 403
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests say what went wrong."""


@pytest.fixture
def api() -> Iterator[type[SecretsApi]]:
    handler = type("Api", (SecretsApi,), {"kept": {}, "url": ""})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def secrets_of(api: Any) -> Any:
    return SCRIPT["Secrets"](api.url, "fileflux", TOKEN)


def ensure(api: Any, names: list[str] = NAMES, now: datetime.datetime = NOW) -> list[str]:
    written: list[str] = SCRIPT["ensure"](secrets_of(api), "cockroachdb", names, VALID, now)
    return written


def data(api: Any, name: str) -> dict[str, bytes]:
    return {key: base64.b64decode(v) for key, v in api.kept[name]["data"].items()}


def test_the_first_run_makes_an_authority_and_two_certificates(api: Any) -> None:
    assert ensure(api) == [
        "cockroachdb-ca-key",
        "cockroachdb-ca",
        "cockroachdb-node",
        "cockroachdb-root",
    ]
    assert set(data(api, "cockroachdb-ca")) == {"ca.crt"}
    subjects = {
        name: x509.load_pem_x509_certificate(data(api, f"cockroachdb-{name}")["tls.crt"]).subject
        for name in ("node", "root")
    }
    assert subjects["node"].rfc4514_string() == "CN=node,O=Cockroach"
    assert subjects["root"].rfc4514_string() == "CN=root,O=Cockroach"


def test_a_second_run_writes_nothing(api: Any) -> None:
    ensure(api)
    assert ensure(api) == []


def test_what_has_less_than_a_third_of_its_time_left_is_made_anew(api: Any) -> None:
    ensure(api)
    before = data(api, "cockroachdb-ca")
    later = NOW + datetime.timedelta(days=61)
    assert ensure(api, now=later) == ["cockroachdb-node", "cockroachdb-root"]
    assert data(api, "cockroachdb-ca") == before


def test_another_name_makes_the_nodes_certificate_anew(api: Any) -> None:
    ensure(api)
    assert ensure(api, names=[*NAMES, "db.example.com"]) == ["cockroachdb-node"]


def test_a_run_that_was_broken_off_is_finished_by_the_next(api: Any) -> None:
    ensure(api)
    for name in ("cockroachdb-ca", "cockroachdb-root"):
        del api.kept[name]
    assert ensure(api) == ["cockroachdb-ca", "cockroachdb-root"]


def test_a_certificate_of_another_authority_is_replaced(api: Any) -> None:
    ensure(api)
    del api.kept["cockroachdb-ca-key"]
    assert "cockroachdb-node" in ensure(api)


def test_an_api_that_refuses_is_an_error(api: Any) -> None:
    api.refuses = True
    with pytest.raises(Exception, match="403"):
        ensure(api)


def test_nodes_and_root_know_each_other_by_these_certificates(api: Any, tmp_path: Path) -> None:
    """A real handshake: each side proves itself, and the node's name is checked."""
    ensure(api, now=datetime.datetime.now(datetime.UTC))
    for name in ("node", "root"):
        for key, value in data(api, f"cockroachdb-{name}").items():
            (tmp_path / f"{name}-{key}").write_bytes(value)
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, name in ((accepting, "node"), (asking, "root")):
        context.load_cert_chain(tmp_path / f"{name}-tls.crt", tmp_path / f"{name}-tls.key")
        context.load_verify_locations(tmp_path / "node-ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    host = "cockroachdb-1.cockroachdb.fileflux.svc.cluster.local"
    assert _common_name(accepting, asking, host) == "root"
    with pytest.raises(ssl.SSLError, match="ostname"):
        _common_name(accepting, asking, "somewhere.else")


def _common_name(accepting: ssl.SSLContext, asking: ssl.SSLContext, host: str) -> str:
    """Shake hands over a pair of sockets; return whom the accepting side met."""
    here, there = socket.socketpair()
    for one in (here, there):
        one.settimeout(10)
    met: list[str] = []

    def accept() -> None:
        try:
            with accepting.wrap_socket(there, server_side=True) as secured:
                subject: Any = secured.getpeercert()
                met.append(dict(pair[0] for pair in subject["subject"])["commonName"])
        except OSError:
            there.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        with asking.wrap_socket(here, server_hostname=host):
            thread.join()
    finally:
        here.close()
        thread.join()
    return met[0]
