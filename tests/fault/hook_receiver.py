"""A receiver of webhooks beside the faults: every change of an object has to arrive here."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fileflux.console.wiring import Surroundings, open_metadata, open_webhooks
from fileflux.metadata.audit_log import read_database
from fileflux.webhooks.admin import Webhooks
from fileflux.webhooks.intake import told

EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


class HookReceiver:
    """Takes everything. `taken`: ids of events; `count`: deliveries, doubles too."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.count = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                receiver.taken.add(self.headers["webhook-id"])
                receiver.count += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the battery has its own lines."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="hook receiver")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    async def subscribe(self, found: Surroundings, bucket: str) -> None:
        """Have everything of a bucket told to this receiver."""
        url = f"http://127.0.0.1:{self._server.server_port}/"
        async with open_webhooks(found) as (store, reader):
            hooks = Webhooks(store, reader, bytes.fromhex(found.master_key))
            await hooks.create(bucket, url, form="s3", event_names=EVENTS, prefix="", suffix="")


async def events_of(found: Surroundings, bucket: str) -> set[str]:
    """Return the id of every event that subscribers of a bucket have to be told."""
    async with open_metadata(found) as metadata:
        return {
            occurrence.event_id
            async for record in read_database(metadata.reader)
            if (occurrence := told(record)) is not None and occurrence.bucket == bucket
        }
