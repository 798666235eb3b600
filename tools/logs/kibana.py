"""What Kibana has ready: a view of the data, searches that people begin with, a dashboard."""

import json
from dataclasses import dataclass
from typing import Any, Final

from tools.logs.fields import all_fields

VIEW: Final = "fileflux-logs"
DASHBOARD: Final = "fileflux-logs-dashboard"
SHOWN: Final = ("service.name", "log.level", "message", "http.request.id")
HALF: Final = 24
HEIGHT: Final = 12


@dataclass(frozen=True, slots=True)
class Search:
    """A saved search: KQL, and the columns that it shows."""

    id: str
    title: str
    says: str
    query: str
    columns: tuple[str, ...] = SHOWN


SEARCHES: Final = (
    Search(
        "fileflux-errors",
        "FileFlux: a person must act",
        "Level error and above: each is worth a look.",
        "log.level: (error or critical)",
        (*SHOWN, "error.stack_trace"),
    ),
    Search(
        "fileflux-request",
        "FileFlux: one request",
        "Everything of a request: put its x-amz-request-id, or a trace's id, in place of *.",
        "http.request.id: * or trace.id: *",
        (*SHOWN, "trace.id"),
    ),
    Search(
        "fileflux-nodes",
        "FileFlux: storage nodes",
        "What nodes, and placement of nodes, say.",
        "service.name: storage-node or fileflux.node_id: *",
        ("service.name", "log.level", "message", "fileflux.node_id", "fileflux.problem"),
    ),
    Search(
        "fileflux-mesh",
        "FileFlux: answers that proxies saw fail",
        "Istio's access lines with a status of 500 and more.",
        "access.status >= 500",
        ("access.status", "access.method", "access.path", "access.flags", "access.duration_ms"),
    ),
    Search(
        "fileflux-pools",
        "FileFlux: hosts and pools",
        "Kernel, ZFS's event daemon, the pool's first creation, kubelet.",
        "host.hostname: *",
        ("host.hostname", "service.name", "message"),
    ),
    Search(
        "fileflux-refused",
        "FileFlux: lines that Elasticsearch refused",
        "The dead letters, each with its reason. A field's type is wrong: tools/logs/fields.py.",
        "data_stream.dataset: fileflux.dead",
        ("error.message", "event.original"),
    ),
)


def saved_objects() -> list[dict[str, Any]]:
    """Return the objects of Kibana's import, each before those that name it."""
    return [_view(), *map(_search, SEARCHES), _dashboard()]


def ndjson() -> str:
    """Return them as the file that Kibana imports: one object a line."""
    return "".join(json.dumps(one, sort_keys=True) + "\n" for one in saved_objects())


def columns_unknown() -> list[str]:
    """Return the columns of searches that no record has."""
    known = {*all_fields()}
    return sorted({one for search in SEARCHES for one in search.columns} - known)


def _view() -> dict[str, Any]:
    attributes = {
        "title": "logs-fileflux*",
        "name": "FileFlux's logs",
        "timeFieldName": "@timestamp",
    }
    return {"type": "index-pattern", "id": VIEW, "attributes": attributes, "references": []}


def _search(search: Search) -> dict[str, Any]:
    name = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "query": {"language": "kuery", "query": search.query},
        "filter": [],
        "indexRefName": name,
    }
    attributes = {
        "title": search.title,
        "description": search.says,
        "columns": list(search.columns),
        "sort": [["@timestamp", "desc"]],
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    references = [{"type": "index-pattern", "id": VIEW, "name": name}]
    return {"type": "search", "id": search.id, "attributes": attributes, "references": references}


def _dashboard() -> dict[str, Any]:
    attributes = {
        "title": "FileFlux: logs",
        "description": "The saved searches side by side.",
        "panelsJSON": json.dumps([_panel(index) for index in range(len(SEARCHES))]),
        "optionsJSON": json.dumps({"useMargins": True}),
        "timeRestore": True,
        "timeFrom": "now-1h",
        "timeTo": "now",
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps(
                {"query": {"language": "kuery", "query": ""}, "filter": []}
            )
        },
    }
    references = [
        {"type": "search", "id": one.id, "name": f"{index}:panel_{index}"}
        for index, one in enumerate(SEARCHES)
    ]
    return {
        "type": "dashboard",
        "id": DASHBOARD,
        "attributes": attributes,
        "references": references,
    }


def _panel(index: int) -> dict[str, Any]:
    place = {"x": index % 2 * HALF, "y": index // 2 * HEIGHT, "w": HALF, "h": HEIGHT}
    return {
        "type": "search",
        "panelIndex": str(index),
        "gridData": {**place, "i": str(index)},
        "panelRefName": f"panel_{index}",
        "embeddableConfig": {},
    }
