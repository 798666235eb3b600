"""A stand-in for AWS's provider: what OpenTofu asks of a resource is done by boto3, against moto.

The provider of tools/go/schema-provider sends its questions here. A handler knows how one type is
made, read, changed and deleted: the API calls that AWS's own provider makes, as far as our modules
need them. So OpenTofu's part is real (order, references, plans, states), and the API's is moto's;
how AWS's provider maps arguments to calls is not tried.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import boto3

State = dict[str, Any]
REGION: Final = "eu-central-1"
ACCOUNT: Final = "123456789012"


class Cloud:
    """Clients of moto's server, and the default tags of the provider's configuration."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.default_tags: dict[str, str] = {}

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


class Handler:
    """One type of resource. `create` and `read` return what the cloud knows of it."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        raise NotImplementedError

    def read(self, cloud: Cloud, state: State) -> State | None:
        """Return what differs or is there; None when it is gone."""
        return {}

    def update(self, cloud: Cloud, planned: State, config: State, prior: State) -> State:
        raise NotImplementedError(f"{type(self).__name__} does not change in place")

    def delete(self, cloud: Cloud, state: State) -> None:
        """Nothing to do where the parent takes it along."""


HANDLERS: Final[dict[str, Handler]] = {}
DATA: Final[dict[str, Callable[[Cloud, State], State]]] = {}


def handles(*names: str) -> Callable[[type[Handler]], type[Handler]]:
    """Register a handler for types of resources."""

    def register(kind: type[Handler]) -> type[Handler]:
        HANDLERS.update({name: kind() for name in names})
        return kind

    return register


def tag_list(planned: State) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (planned["tags_all"] or {}).items()]


@dataclass
class Answers:
    """What a question of the provider is answered with, and a list of all that was asked."""

    cloud: Cloud
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, question: State) -> Any:
        op, name = question["op"], question["type"]
        self.asked.append((op, name))
        match op:
            case "configure":
                for one in question["config"]["default_tags"] or []:
                    self.cloud.default_tags = one["tags"]
                return {}
            case "data" | "open":
                return {**question["config"], **DATA[name](self.cloud, question["config"])}
            case "read":
                found = HANDLERS[name].read(self.cloud, question["config"])
                return None if found is None else {**question["config"], **found}
            case "delete":
                HANDLERS[name].delete(self.cloud, question["prior"])
                return None
        return self._made(op, HANDLERS[name], question)

    def _made(self, op: str, handler: Handler, question: State) -> State:
        planned, config = question["planned"], question["config"]
        if "tags_all" in planned:
            planned["tags_all"] = {**self.cloud.default_tags, **(planned["tags"] or {})}
        if "region" in planned:
            planned["region"] = planned["region"] or REGION
        if op == "create":
            return {**planned, **handler.create(self.cloud, planned, config)}
        return {**planned, **handler.update(self.cloud, planned, config, question["prior"])}


class StandIn:
    """The HTTP server that the provider asks. A context manager; `url` is its address."""

    def __init__(self, endpoint: str) -> None:
        self.answers = Answers(Cloud(endpoint))
        answers = self.answers

        class Http(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                self._reply(json.loads(self.rfile.read(length)))

            def _reply(self, question: State) -> None:
                try:
                    answer = {"value": answers.answer(question)}
                except Exception as error:  # The provider shows it as OpenTofu's error.
                    answer = {"error": f"{question['op']}: {type(error).__name__}: {error}"}
                text = json.dumps(answer, default=str).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Silent: what was asked is in `answers.asked`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
