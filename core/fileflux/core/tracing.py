"""Traces: W3C Trace Context, and the port to whoever records spans.

A process chooses its tracer once, before anything else is made (`install`). Without an endpoint
that is NO_TRACER: nothing is imported, no span exists, and every question is answered by the same
two objects. Code asks for `tracer()` when it is constructed, and begins a span only with a sampled
context at hand, so an unsampled request costs what an untraced one does.
"""

import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

TRACEPARENT: Final = "traceparent"
TRACEPARENT_SIZE_MAX: Final = 256
"""Of a future version, which may go on behind what we read."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attribute = str | bool | int | float | Sequence[str]

_TRACEPARENT: Final = re.compile(
    "([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which trace, which span in it, and whether its spans are recorded. Ids are hexadecimal."""

    trace_id: str
    span_id: str
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """Return it as a header's value (W3C Trace Context, version 00)."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


def parse_traceparent(text: str) -> TraceContext | None:
    """Return what a `traceparent` says; None for anything that the standard calls invalid.

    Flags that we do not know, and what a future version appends, are not passed on.
    """
    if len(text) > TRACEPARENT_SIZE_MAX:
        return None
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if (
        version == "ff"
        or (version == "00" and more)
        or not (int(trace_id, 16) and int(span_id, 16))
    ):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


class Span(Protocol):
    """A span that ends with its `with` block. It is false when nothing is recorded.

    `context`: what is passed on; None when there is no trace at all.
    """

    @property
    def context(self) -> TraceContext | None: ...

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute, by its name in the semantic conventions if it has one there."""

    def rename(self, name: str) -> None: ...

    def fail(self, problem: str) -> None:
        """It failed. `problem`: a word for statistics (`error.type`), never a message."""

    def __bool__(self) -> bool: ...

    def __enter__(self) -> "Span": ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None: ...


class Tracer(Protocol):
    """Begins spans. `is_on`: whether it ever records one."""

    @property
    def is_on(self) -> bool: ...

    def request(self, name: str, parent: TraceContext | None, *, kind: Kind = "server") -> Span:
        """Begin where a trace enters or starts: the sampler decides."""

    def span(
        self,
        name: str,
        parent: TraceContext | None,
        *,
        kind: Kind = "internal",
        links: Sequence[TraceContext] = (),
    ) -> Span:
        """Begin a child of a sampled parent; anything else is NO_SPAN."""

    def close(self, *, timeout_s: float) -> None:
        """Send what is recorded, for at most so long. Blocking."""


class SilentSpan:
    """Records nothing; the context of a trace that goes by is passed on."""

    __slots__ = ("context",)

    def __init__(self, context: TraceContext | None = None) -> None:
        self.context = context

    def set(self, name: str, value: Attribute) -> None:
        pass

    def rename(self, name: str) -> None:
        pass

    def fail(self, problem: str) -> None:
        pass

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        pass


class _NoTracer:
    __slots__ = ()
    is_on = False

    def request(self, name: str, parent: TraceContext | None, *, kind: Kind = "server") -> Span:
        return NO_SPAN

    def span(
        self,
        name: str,
        parent: TraceContext | None,
        *,
        kind: Kind = "internal",
        links: Sequence[TraceContext] = (),
    ) -> Span:
        return NO_SPAN

    def close(self, *, timeout_s: float) -> None:
        pass


NO_SPAN: Final[Span] = SilentSpan()
NO_TRACER: Final[Tracer] = _NoTracer()
_installed: list[Tracer] = [NO_TRACER]
CURRENT: Final[ContextVar[TraceContext | None]] = ContextVar("trace", default=None)
"""The innermost span's `with` block that we are in. Tracers set it; NO_TRACER never does."""


def tracer() -> Tracer:
    """Return this process's tracer. Ask when something is constructed, not on the hot path."""
    return _installed[0]


def install(chosen: Tracer) -> None:
    """Choose the tracer of everything that is constructed from now on."""
    _installed[0] = chosen


def current() -> TraceContext | None:
    """Return the context of the span that we are in."""
    return CURRENT.get()


def set_server(span: Span, url: str) -> None:
    """Say who was asked: host and port only, a URL may be a secret. What is no URL has neither."""
    try:
        place = urlsplit(url)
        host, port = place.hostname, place.port
    except ValueError:
        return  # Whoever opens it says what is wrong.
    if host:
        span.set("server.address", host)
    if port:
        span.set("server.port", port)


def shared_span(
    chosen: Tracer,
    name: str,
    contexts: Iterable[TraceContext | None],
    *,
    kind: Kind = "internal",
) -> Span:
    """Begin a span for work that many asked for: child of the first sampled, linked to the rest."""
    sampled = sampled_of(contexts)
    return chosen.span(name, sampled[0], kind=kind, links=sampled[1:]) if sampled else NO_SPAN


def sampled_of(contexts: Iterable[TraceContext | None]) -> list[TraceContext]:
    """Return those that are recorded, each once, in order."""
    return list(dict.fromkeys(one for one in contexts if one is not None and one.is_sampled))
