"""The two sides of `traffic_shift`'s ports that are real: kubectl, and Prometheus' HTTP API."""

import json
import math
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

from tools.traffic_shift import (
    TRACKS,
    ClusterUnavailable,
    FiguresUnavailable,
    Progress,
    RouteState,
    Sample,
    UnknownState,
)

NOTE: Final = "fileflux.io/rollout"
"""The annotation of the VirtualService that says how far a roll-out is."""
ANSWER_BYTES_MAX: Final = 1 << 20
TIMEOUT_S: Final = 15.0


class KubectlRoutes:
    """Weights of the VirtualService `NAME` by kubectl, whose configuration says which cluster."""

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        kubectl: Sequence[str] = ("kubectl",),
        selector: str = "app.kubernetes.io/component=ingest,fileflux.io/track=candidate",
    ) -> None:
        self._command = [*kubectl, "--namespace", namespace, f"--request-timeout={TIMEOUT_S:.0f}s"]
        self._name = name
        self._selector = selector
        self._seen: dict[str, Any] = {}

    def read(self) -> RouteState:
        text = self._kubectl("get", f"virtualservices.networking.istio.io/{self._name}", "-ojson")
        self._seen = json.loads(text)
        shares = {_share(route) for route in self._seen["spec"].get("http", ())}
        if len(shares) != 1:
            raise UnknownState(f"the routes of {self._name} disagree about the weights: {shares}")
        note = self._seen["metadata"].get("annotations", {}).get(NOTE)
        return RouteState(shares.pop(), Progress.from_json(note) if note else None)

    def write(self, candidate: int, progress: Progress | None) -> None:
        if not self._seen:
            raise ClusterUnavailable(f"{self._name} was never read")
        patch = json.dumps(_patch(self._seen, candidate, progress))
        kind = "virtualservices.networking.istio.io"
        answer = self._kubectl(
            "patch", f"{kind}/{self._name}", "--type=json", f"--patch={patch}", "-ojson"
        )
        self._seen = json.loads(answer)

    def candidates_ready(self) -> int:
        text = self._kubectl("get", "pods", f"--selector={self._selector}", "-ojson")
        return sum(_is_ready(pod) for pod in json.loads(text)["items"])

    def _kubectl(self, *arguments: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603  # The person's own kubectl, no shell.
                [*self._command, *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=2 * TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterUnavailable(str(error)) from error
        if done.returncode != 0:
            raise ClusterUnavailable(done.stderr.strip()[-500:] or f"exit {done.returncode}")
        return done.stdout


def _share(route: dict[str, Any]) -> int:
    """Return the candidate's percent of one route; raise UnknownState for another shape."""
    found = {
        one["destination"].get("subset"): one.get("weight", 0) for one in route.get("route", ())
    }
    if set(found) != set(TRACKS) or sum(found.values()) != 100:
        raise UnknownState(f"a route does not lead to {' and '.join(TRACKS)}: {found}")
    return int(found["candidate"])


def _patch(seen: dict[str, Any], candidate: int, progress: Progress | None) -> list[dict[str, Any]]:
    """Return a JSON patch that fails as a whole when somebody wrote in between."""
    version = seen["metadata"]["resourceVersion"]
    made: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    ]
    for number, route in enumerate(seen["spec"]["http"]):
        for place, one in enumerate(route["route"]):
            is_candidate = one["destination"].get("subset") == "candidate"
            weight = candidate if is_candidate else 100 - candidate
            path = f"/spec/http/{number}/route/{place}/weight"
            made.append({"op": "add", "path": path, "value": weight})
    return [*made, *_note(seen["metadata"].get("annotations"), progress)]


def _note(there: dict[str, str] | None, progress: Progress | None) -> list[dict[str, Any]]:
    path = "/metadata/annotations/" + NOTE.replace("~", "~0").replace("/", "~1")
    if progress is None:
        return [{"op": "remove", "path": path}] if NOTE in (there or {}) else []
    empty = [] if there else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    return [*empty, {"op": "add", "path": path, "value": progress.to_json()}]


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


class PrometheusFigures:
    """Figures of ingest's tracks by PromQL. `labels`: what else every series has, as a matcher."""

    def __init__(self, url: str, *, labels: str, timeout_s: float = TIMEOUT_S) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"not an address of Prometheus: {url}")
        self._url = url.rstrip("/")
        self._labels = labels
        self._timeout_s = timeout_s

    def sample(self, track: str, window_s: float) -> Sample:
        chosen = f'{self._labels},fileflux_io_track="{track}"'
        window = f"{math.ceil(window_s)}s"
        slow = f"sum by (le) (increase(fileflux_s3_request_seconds_bucket{{{chosen}}}[{window}]))"
        return Sample(
            requests=self._sum(f"increase(fileflux_s3_requests_total{{{chosen}}}[{window}])"),
            errors=self._answered(chosen, "5xx", window),
            refusals=self._answered(chosen, "4xx", window),
            p99_s=self._value(f"histogram_quantile(0.99, {slow})"),
        )

    def _answered(self, chosen: str, status: str, window: str) -> float:
        series = f'fileflux_s3_requests_total{{{chosen},status="{status}"}}'
        return self._sum(f"increase({series}[{window}])")

    def _sum(self, expression: str) -> float:
        return self._value(f"sum({expression})") or 0.0

    def _value(self, query: str) -> float | None:
        """Return the one number that a query gives; None for none, or for not a number."""
        answer = self._ask(query)
        try:
            if answer["status"] != "success":
                raise FiguresUnavailable(str(answer.get("error")))
            result = answer["data"]["result"]
            value = float(result[0]["value"][1]) if result else math.nan
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise FiguresUnavailable(f"not an answer of Prometheus: {error!r}") from error
        return value if math.isfinite(value) else None

    def _ask(self, query: str) -> Any:
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(address, timeout=self._timeout_s) as answer:  # noqa: S310
                return json.loads(answer.read(ANSWER_BYTES_MAX))
        except (OSError, ValueError) as error:
            raise FiguresUnavailable(f"{self._url}: {error}") from error
