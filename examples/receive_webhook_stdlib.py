"""Receive FileFlux's webhooks with nothing but Python's standard library.

    WEBHOOK_SECRET=whsec_… python examples/receive_webhook_stdlib.py 8000

Answers 204 for what it took, 401 for what FileFlux did not sign. A delivery may come twice: its id
says so.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("WEBHOOK_SECRET", "")
BODY_BYTES_MAX = 1 << 20
WINDOW_S = 300
seen: set[str] = (
    set()
)  # Of a real receiver: a table with a unique key, in the effect's transaction.


def is_ours(headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether one of the signatures is right, and not older than five minutes."""
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(time.time() - int(at)) > WINDOW_S:
        return False
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected, one) for one in given)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(min(size, BODY_BYTES_MAX))
        if not is_ours(dict(self.headers), body):
            self.send_error(401)
            return
        name = self.headers["webhook-id"]
        if name not in seen:
            seen.add(name)
            for record in json.loads(body).get("Records", []):
                key = record["s3"]["object"]["key"]
                print(record["eventName"], key, flush=True)
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
