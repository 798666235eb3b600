"""Prometheus' HTTP API, answering queries about ingest's tracks with what a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[str], "float | str | None"]
"""A query's value; None for no series, a text for an error of Prometheus."""


@contextmanager
def prometheus(answer: Answer) -> Iterator[str]:
    """Serve on loopback; yield the address."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path != "/api/v1/query":
                self.send_error(404)
                return
            status, body = _body(answer(parse_qs(address.query)["query"][0]))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Nothing: the tests say what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _body(value: float | str | None) -> tuple[int, dict[str, Any]]:
    if isinstance(value, str):
        return 422, {"status": "error", "errorType": "execution", "error": value}
    result = [] if value is None else [{"metric": {}, "value": [0, str(value)]}]
    return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}


def figures(*, candidate_fails: float = 0.0, requests: float = 5_000.0) -> Answer:
    """Answer as if both tracks were well but for the candidate's share of failures."""

    def answer(query: str) -> float | None:
        if "histogram_quantile" in query:
            return 0.05
        share = candidate_fails if 'fileflux_io_track="candidate"' in query else 0.0
        if 'status="5xx"' in query:
            return requests * share
        return 0.0 if 'status="4xx"' in query else requests

    return answer
