"""Follow the events of your buckets over HTTP, with Python's standard library alone.

EVENTS_URL=http://127.0.0.1:9000 EVENTS_USER=alice EVENTS_PASSWORD=… \
    python examples/follow_events.py "from=start&operation=PutObject"
"""

import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SILENCE_S = 60
"""A heartbeat comes every 15 seconds: whoever is silent for longer is gone."""
AGAIN_S = 2


def events(
    endpoint: str, user: str, password: str, query: str = "", last_id: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (id, event) for ever, each event once and in order, whatever happens to the line.

    Keep the id together with what you do about the event, and begin with it after a restart.
    """
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    while True:
        headers = {"Authorization": f"Basic {credentials}", "Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        try:
            request = Request(f"{endpoint}/events?{query}", headers=headers)  # noqa: S310
            with urlopen(request, timeout=SILENCE_S) as answer:  # noqa: S310
                for last_id, data in blocks(answer):
                    if data:
                        yield last_id, json.loads(data)
        except HTTPError as refused:
            if refused.code < 500:
                raise  # The question is wrong, or those events are not kept any more.
        except (OSError, HTTPException):
            pass  # The line was cut.
        time.sleep(AGAIN_S)


def blocks(answer: Any) -> Iterator[tuple[str, str]]:
    """Yield (id, data) of each block; `data` is empty in heartbeats. A cut block is dropped."""
    found: dict[str, str] = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if line != b"\n":
            found[name] = value
            continue
        if "id" in found:
            yield found["id"], found.get("data", "")
        found = {}


def main() -> None:
    query = sys.argv[1] if len(sys.argv) > 1 else ""
    url, user, password = (os.environ[f"EVENTS_{name}"] for name in ("URL", "USER", "PASSWORD"))
    for _, event in events(url, user, password, query):
        data = event["data"]
        print(event["time"], data["operation"], f"{data['bucket']}/{data.get('key', '')}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
