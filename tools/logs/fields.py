"""The fields of a log record in Elasticsearch, and the types that they have there.

The list of what FileFlux's code logs is closed: a field that is logged and not here fails a test,
because Elasticsearch would keep it and never find it.
"""

from typing import Any, Final

KEYWORD: Final = {"type": "keyword", "ignore_above": 1024}
TEXT: Final = {"type": "text", "fields": {"keyword": KEYWORD}}
WHOLE: Final = {"type": "long", "ignore_malformed": True}
MEASURED: Final = {"type": "double", "ignore_malformed": True}
FLAG: Final = {"type": "boolean"}
ANYTHING: Final = {"type": "flattened"}

FILEFLUX: Final[dict[str, dict[str, Any]]] = {
    **dict.fromkeys(("bucket", "key", "route", "subscription", "stream", "topic", "name"), KEYWORD),
    **dict.fromkeys(("bundle", "bundle_id", "seal_id", "upload_id", "extent", "suffix"), KEYWORD),
    **dict.fromkeys(("node_id", "pool", "worker", "task", "incarnation", "access_key"), KEYWORD),
    **dict.fromkeys(("kind", "path", "version"), KEYWORD),
    **dict.fromkeys(("cause", "causes", "error", "problem", "reason"), TEXT),
    **dict.fromkeys(("accepted", "bundle_count", "bundles", "bytes", "count", "end"), WHOLE),
    **dict.fromkeys(("epoch", "last_epoch", "exit_code", "lane", "length", "offset"), WHOLE),
    **dict.fromkeys(("ops_port", "partition", "port", "position", "seen_end", "turn"), WHOLE),
    "ports": ANYTHING,
    "serves_on_s": MEASURED,
    "without_plain_numbers": FLAG,
    "stream_name": KEYWORD,  # stdout or stderr: what Logstash makes of the container's `stream`.
}
"""Under `fileflux.`: the names that the code gives them."""

SHARED: Final[dict[str, dict[str, Any]]] = {
    "@timestamp": {"type": "date"},
    "message": TEXT,
    "log.level": KEYWORD,
    "log.logger": KEYWORD,
    "error.message": TEXT,
    "error.stack_trace": {"type": "wildcard"},
    "event.original": {"type": "keyword", "index": False, "doc_values": False},
    "http.request.id": KEYWORD,
    "trace.id": KEYWORD,
    "span.id": KEYWORD,
    "service.name": KEYWORD,
    "container.name": KEYWORD,
    "host.name": KEYWORD,
    "host.hostname": KEYWORD,
    "orchestrator.namespace": KEYWORD,
    "orchestrator.resource.name": KEYWORD,
}
"""Elastic's common schema (ECS), as `lines.conf` renames them."""

ACCESS: Final[dict[str, dict[str, Any]]] = {
    **dict.fromkeys(("method", "path", "protocol", "flags", "details", "failure"), KEYWORD),
    **dict.fromkeys(("tls_failure", "forwarded_for", "client_agent"), KEYWORD),
    **dict.fromkeys(("mesh_request_id", "authority", "upstream", "upstream_ms"), KEYWORD),
    **dict.fromkeys(("status", "bytes_received", "bytes_sent", "duration_ms"), WHOLE),
}
"""Under `access.`: what a proxy of Istio's says of a request."""


def all_fields() -> dict[str, dict[str, Any]]:
    """Return path → mapping of every field."""
    own = {f"fileflux.{name}": one for name, one in FILEFLUX.items()}
    access = {f"access.{name}": one for name, one in ACCESS.items()}
    return {**SHARED, **own, **access}
