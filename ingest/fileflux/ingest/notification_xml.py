"""S3's NotificationConfiguration ⇄ its parts. What a part means is checked in `notification_rules`.

The three kinds of destination that S3 has differ in the names of two elements only.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from fileflux.ingest.operations import SMALL_XML_BYTES_MAX
from fileflux.ingest.s3_errors import S3Error, invalid_argument
from fileflux.ingest.xml_reader import TEXT, Node, Shape, malformed, read_xml
from fileflux.ingest.xml_text import document, element
from fileflux.metadata.notification import Kind, Notification

PARTS_MAX: Final = 100
"""As S3 has it."""
EVENTS_MAX: Final = 32
ROOT: Final = "NotificationConfiguration"
_ELEMENTS: Final[dict[Kind, tuple[str, str]]] = {
    "topic": ("TopicConfiguration", "Topic"),
    "queue": ("QueueConfiguration", "Queue"),
    "function": ("CloudFunctionConfiguration", "CloudFunction"),
}
"""Of each kind: its element, and the one with the ARN."""
EVENT_BRIDGE: Final = "EventBridgeConfiguration"
_RULE: Final = Shape({"Name": TEXT, "Value": TEXT}, count_max=2)
_FILTER: Final = Shape({"S3Key": Shape({"FilterRule": _RULE})})


def _part_shape(arn: str) -> Shape:
    events = Shape(count_max=EVENTS_MAX)
    return Shape({"Id": TEXT, arn: TEXT, "Event": events, "Filter": _FILTER}, count_max=PARTS_MAX)


_CONFIGURATION: Final = Shape(
    {name: _part_shape(arn) for name, arn in _ELEMENTS.values()} | {EVENT_BRIDGE: TEXT}
)


def parse_configuration(
    body: bytes, *, size_max: int = SMALL_XML_BYTES_MAX
) -> tuple[Notification, ...]:
    """Return the parts as they were given: ids may be empty, ARNs are not looked at yet."""
    if not body:
        raise S3Error("MissingRequestBodyError")
    root = read_xml(body, ROOT, _CONFIGURATION, size_max=size_max)
    if root.value(EVENT_BRIDGE) is not None:
        raise S3Error(
            "NotImplemented",
            "There is no EventBridge: name a destination, or follow GET /_fileflux/events.",
        )
    parts = tuple(
        _part(node, kind, arn) for kind, (name, arn) in _ELEMENTS.items() for node in root.all(name)
    )
    if len(parts) > PARTS_MAX:
        raise malformed(f"There may be {PARTS_MAX} configurations.")
    return parts


def configuration_result(parts: Iterable[Notification]) -> bytes:
    """Return the document that GET answers; without parts it is empty."""
    return document(ROOT, [_rendered(one) for one in parts])


def _part(node: Node, kind: Kind, arn: str) -> Notification:
    named, events = (node.value(arn) or "").strip(), node.many.get("Event", [])
    if not named or not events:
        raise malformed(f"A configuration must have {arn} and Event.")
    prefix, suffix = _filter(node)
    return Notification(
        kind=kind,
        configuration_id=node.value("Id") or "",
        arn=named,
        destination="",
        event_names=tuple(dict.fromkeys(name.strip() for name in events)),
        prefix=prefix,
        suffix=suffix,
    )


def _filter(node: Node) -> tuple[str, str]:
    rules = [
        rule
        for one in node.all("Filter")
        for key in one.all("S3Key")
        for rule in key.all("FilterRule")
    ]
    found: dict[str, str] = {}
    for rule in rules:
        name = (rule.value("Name") or "").strip().lower()
        if name not in ("prefix", "suffix"):
            message = "filter rule name must be either prefix or suffix"
            raise invalid_argument(message, "FilterRule.Name", name)
        if name in found:
            message = f"Cannot specify more than one {name} rule in a filter."
            raise invalid_argument(message, "FilterRule.Name", name)
        found[name] = rule.value("Value") or ""
    return found.get("prefix", ""), found.get("suffix", "")


def _rendered(one: Notification) -> str:
    name, arn = _ELEMENTS[one.kind]
    events = "".join(element("Event", event) for event in one.event_names)
    rules = _rules((("prefix", one.prefix), ("suffix", one.suffix)))
    content = f"{element('Id', one.configuration_id)}{element(arn, one.arn)}{events}{rules}"
    return f"<{name}>{content}</{name}>"


def _rules(rules: Sequence[tuple[str, str]]) -> str:
    given = "".join(
        f"<FilterRule>{element('Name', name)}{element('Value', value)}</FilterRule>"
        for name, value in rules
        if value
    )
    return f"<Filter><S3Key>{given}</S3Key></Filter>" if given else ""
