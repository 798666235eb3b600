"""XML in: a strict, bounded reader of the few documents that S3's clients send.

A document is read once, against its shape, by defusedxml: no DTD, so no entities and no files; no
encoding but UTF-8; no element, attribute or text that the shape does not have. Whatever is wrong
stops the reader where it is, so that a hostile document costs no more than its bytes.
"""

import re
from collections.abc import Mapping, Sequence
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
NAMESPACES_MAX: Final = 64
"""Declarations in a document. One is usual; the parser remembers each of them."""
_LONG_MARKUP: Final = re.compile(rb"<[^<]{65536}")
"""No tag with its text is that long. A tag is parsed as a whole, so nothing could stop it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an element may hold: elements by name, or text. `count_max`: how often it may stand;
    of text that may stand more than once, see `Node.many`.

    `is_lacking`: S3 knows it, FileFlux does not; it is refused by name instead of passed over.
    """

    elements: Mapping[str, "Shape"] = field(default_factory=dict)
    count_max: int = 1
    is_lacking: bool = False
    tags: Mapping[str, tuple[str, "Shape"]] = field(init=False, repr=False)
    """By the parser's spelling, which has the namespace in front."""

    def __post_init__(self) -> None:
        spellings = {f"{prefix}{n}": (n, s) for n, s in self.elements.items() for prefix in _SPACES}
        object.__setattr__(self, "tags", spellings)


_SPACES: Final = ("", f"{NAMESPACE}}}")
TEXT: Final = Shape()
LACKING: Final = Shape(is_lacking=True)


class Node:
    """An element as it was read: texts of the elements that hold text, nodes of the others.

    Texts are exact: blanks in a key are part of it. `many`: texts of elements that may be repeated.
    """

    __slots__ = ("many", "nodes", "shape", "texts")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.texts: dict[str, str] = {}
        self.many: dict[str, list[str]] = {}
        self.nodes: dict[str, list[Node]] = {}

    def all(self, name: str) -> Sequence["Node"]:
        return self.nodes.get(name, ())

    def value(self, name: str) -> str | None:
        """Return the text of the element of that name, None if it is not there."""
        return self.texts.get(name)


def read_xml(body: bytes, root: str, shape: Shape, *, size_max: int) -> Node:
    """Return the document's root; raise MalformedXML, or NotImplemented for a lacking element."""
    assert shape.elements, root
    if len(body) > size_max:
        raise S3Error("MaxMessageLengthExceeded", extra={"MaxMessageLengthBytes": str(size_max)})
    if _LONG_MARKUP.search(body):
        raise malformed("A tag is too long.")
    target = _Target(Shape({root: shape}))
    parser = DefusedXMLParser(target=target, encoding="utf-8", forbid_dtd=True)
    target.listen(parser)
    try:
        parser.feed(body)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError):
        raise malformed() from None
    return target.document.nodes[root][0]


def malformed(detail: str = "") -> S3Error:
    """Return MalformedXML; `detail` says what is wrong where that helps."""
    return S3Error("MalformedXML", extra={"Detail": detail} if detail else None)


class _Target:
    """Builds nodes while the parser reads. `_open`: nodes that have not ended, outermost first.

    The document itself is the outermost, so that its root is an element like any other. `_leaf`:
    the element with text that the parser is in, if it is in one.
    """

    def __init__(self, shape: Shape) -> None:
        self.document = Node(shape)
        self._open = [self.document]
        self._leaf = ""
        self._text: list[str] = []
        self._text_size = 0
        self._namespace_count = 0

    def listen(self, parser: Any) -> None:
        """Take the place of defusedxml's tree builder, not of what it forbids."""
        expat = parser.parser
        expat.StartElementHandler = self._start
        expat.EndElementHandler = self._end
        expat.CharacterDataHandler = self._data
        expat.StartNamespaceDeclHandler = self._namespace
        expat.XmlDeclHandler = _check_declaration
        expat.DefaultHandlerExpand = None

    def close(self) -> None:
        """The parser's last word; it has told of a document that ended too early."""

    def _start(self, tag: str, attributes: Sequence[str]) -> None:
        parent = self._open[-1]
        known = parent.shape.tags.get(tag)
        if known is None or attributes or self._leaf:
            raise malformed()
        name, shape = known
        if self._text:
            self._refuse_text()
        if shape.elements:
            self._open.append(_new_node(parent, name, shape))
        elif shape.is_lacking:
            raise S3Error("NotImplemented", f"The element {name} is not implemented.")
        elif name in parent.texts:
            raise malformed(f"There may be one {name}.")
        elif len(parent.many.get(name, ())) == shape.count_max:
            raise malformed(f"There may be {shape.count_max} of {name}.")
        else:
            self._leaf = name

    def _data(self, text: str) -> None:
        self._text_size += len(text)
        if self._text_size > TEXT_SIZE_MAX:
            raise malformed("An element's text is too long.")
        self._text.append(text)

    def _end(self, _tag: str) -> None:
        if self._leaf:
            parent, text = self._open[-1], self._take_text()
            if parent.shape.elements[self._leaf].count_max > 1:
                parent.many.setdefault(self._leaf, []).append(text)
            else:
                parent.texts[self._leaf] = text
            self._leaf = ""
            return
        self._refuse_text()
        self._open.pop()

    def _namespace(self, _prefix: str | None, _uri: str | None) -> None:
        self._namespace_count += 1
        if self._namespace_count > NAMESPACES_MAX:
            raise malformed("There are too many namespaces.")

    def _refuse_text(self) -> None:
        """Between elements there may be blanks only."""
        if self._text and self._take_text().strip():
            raise malformed()

    def _take_text(self) -> str:
        text = self._text[0] if len(self._text) == 1 else "".join(self._text)
        self._text, self._text_size = [], 0
        return text


def _new_node(parent: Node, name: str, shape: Shape) -> Node:
    same = parent.nodes.setdefault(name, [])
    if len(same) == shape.count_max:
        raise malformed(f"There may be {shape.count_max} of {name}.")
    same.append(Node(shape))
    return same[-1]


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
        raise malformed("The encoding must be UTF-8.")
