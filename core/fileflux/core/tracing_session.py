"""What the exporter of traces may not do to us: read an endless answer, log a token.

Imported by `tracing_sdk` only: without an endpoint nobody needs `requests`.
"""

import logging
from contextlib import suppress
from typing import Any, Final

import requests
from urllib3.exceptions import HTTPError

ANSWER_DIGITS_MAX: Final = 3
"""Of the length of a collector's answer: it has a few bytes, and nobody needs them."""
_SETTINGS_LOGGER: Final = logging.getLogger("opentelemetry.util.re")


def collector_session() -> requests.Session:
    """Return what sends to the collector: of an answer it needs the head only."""
    session = requests.Session()
    session.stream = True
    session.hooks["response"].append(_let_go)
    return session


def _let_go(response: requests.Response, **_: Any) -> None:
    """Read a short answer, so that its connection is used again; hang up on any other."""
    size = response.headers.get("content-length", "")
    with suppress(HTTPError, OSError):  # Its status counts, and is there.
        if size.isdecimal() and len(size) <= ANSWER_DIGITS_MAX:
            response.raw.read(decode_content=False)
    response.close()


def hide_header_values() -> None:
    """Let the SDK say that a header in the settings is written wrongly, and not what it says."""
    _SETTINGS_LOGGER.addFilter(_without_values)


def _without_values(record: logging.LogRecord) -> bool:
    record.args = tuple("(not shown)" for _ in record.args or ())
    return True
