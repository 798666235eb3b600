"""XML in: a strict, bounded reader of the few documents that S3's clients send.

A document is read once, against its shape, by defusedxml: no DTD, so no entities and no files; no
encoding but UTF-8; no element, attribute or text that the shape does not have. Whatever is wrong
stops the reader where it is, so that a hostile document costs no more than its bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from fileflux.core.model import KIB
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.xml_text import NAMESPACE

TEXT_SIZE_MAX: Final = 16 * KIB
"""Of one element. A key has 1 KiB; a little more lets its own error speak."""
_NAMESPACE_PREFIX: Final = f"{{{NAMESPACE}}}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What an element may hold: elements by name, or text. `count_max`: how often it may stand.

    `is_lacking`: S3 knows it, FileFlux does not; it is refused by name instead of passed over.
    """

    elements: Mapping[str, "Shape"] = field(default_factory=dict)
    count_max: int = 1
    is_lacking: bool = False


TEXT: Final = Shape()
LACKING: Final = Shape(is_lacking=True)


@dataclass(slots=True)
class Node:
    """An element as it was read. `text` is exact: blanks in a key are part of it."""

    name: str
    text: str = ""
    nodes: list["Node"] = field(default_factory=list)

    def all(self, name: str) -> Iterator["Node"]:
        return (node for node in self.nodes if node.name == name)

    def value(self, name: str) -> str | None:
        """Return the text of the element of that name, None if it is not there."""
        return next((node.text for node in self.all(name)), None)


def read_xml(body: bytes, root: str, shape: Shape, *, size_max: int) -> Node:
    """Return the document's root; raise MalformedXML, or NotImplemented for a lacking element."""
    if len(body) > size_max:
        raise S3Error("MaxMessageLengthExceeded", extra={"MaxMessageLengthBytes": str(size_max)})
    target = _Target(root, shape)
    parser = DefusedXMLParser(target=target, encoding="utf-8", forbid_dtd=True)
    expat: Any = parser
    expat.parser.XmlDeclHandler = _check_declaration
    try:
        parser.feed(body)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError):
        raise malformed() from None
    return target.root()


def malformed(detail: str = "") -> S3Error:
    """Return MalformedXML; `detail` says what is wrong where that helps."""
    return S3Error("MalformedXML", extra={"Detail": detail} if detail else None)


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
        raise malformed("The encoding must be UTF-8.")


class _Target:
    """Builds nodes while the parser reads. `_open`: elements that have not ended, outermost first.

    The document itself is the outermost, so that its root is an element like any other.
    """

    def __init__(self, root: str, shape: Shape) -> None:
        self._open = [(Node(""), Shape({root: shape}))]
        self._counts: list[dict[str, int]] = [{}]
        self._text: list[str] = []
        self._text_size = 0

    def root(self) -> Node:
        if not self._open[0][0].nodes:
            raise malformed()
        return self._open[0][0].nodes[0]

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.removeprefix(_NAMESPACE_PREFIX)
        parent, parent_shape = self._open[-1]
        shape = parent_shape.elements.get(name)
        if shape is None or attributes:
            raise malformed()
        if shape.is_lacking:
            raise S3Error("NotImplemented", f"The element {name} is not implemented.")
        counts = self._counts[-1]
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > shape.count_max:
            raise malformed(f"There may be {shape.count_max} of {name}.")
        self._refuse_text()
        node = Node(name)
        parent.nodes.append(node)
        self._open.append((node, shape))
        self._counts.append({})

    def data(self, text: str) -> None:
        self._text_size += len(text)
        if self._text_size > TEXT_SIZE_MAX:
            raise malformed("An element's text is too long.")
        self._text.append(text)

    def end(self, _tag: str) -> None:
        node, shape = self._open.pop()
        self._counts.pop()
        if shape.elements:
            self._refuse_text()
        node.text = self._take_text()

    def close(self) -> None:
        pass

    def _refuse_text(self) -> None:
        """Between elements there may be blanks only."""
        if self._take_text().strip():
            raise malformed()

    def _take_text(self) -> str:
        text = "".join(self._text)
        self._text, self._text_size = [], 0
        return text
