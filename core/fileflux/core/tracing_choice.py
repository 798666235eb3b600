"""Whether this process records traces: the standard variables decide, once, at its start."""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from fileflux.core.telemetry import get_logger
from fileflux.core.tracing import NO_TRACER, Tracer

log = get_logger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
EXPORTER_MODULE: Final = "opentelemetry.exporter.otlp.proto.http"


def is_wanted(env: Mapping[str, str]) -> bool:
    """Tell whether the environment asks for traces: an endpoint, and nothing that says no."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if env.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return any(env.get(name, "").strip() for name in ENDPOINTS)


def choose_tracer(service: str, env: Mapping[str, str] | None = None) -> Tracer:
    """Return the tracer that the environment asks for. What is wrong with it is only logged."""
    found = os.environ if env is None else env
    if not is_wanted(found):
        return NO_TRACER
    if problem := _problem(found):
        log.warning("traces are not recorded", problem=problem)
        return NO_TRACER
    try:
        # Here, so that nobody who traces nothing pays for the import.
        from fileflux.core.tracing_sdk import open_sdk_tracer

        made = open_sdk_tracer(service)
        # From now on each lost batch is an error to it; our exporter says what that means.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    except Exception as error:  # Whatever is wrong with a collector's address stops no service.
        log.warning("traces are not recorded", problem=repr(error))
        return NO_TRACER
    return made


def _problem(env: Mapping[str, str]) -> str | None:
    protocol = next((env[name] for name in PROTOCOLS if env.get(name)), PROTOCOL)
    if protocol.strip() != PROTOCOL:
        return f"{PROTOCOLS[1]} is {protocol}; only {PROTOCOL} is spoken here"
    if not _is_installed():
        return "the SDK is not installed: pip install 'fileflux[tracing]'"
    return None


def _is_installed() -> bool:
    try:
        return find_spec(EXPORTER_MODULE) is not None
    except ModuleNotFoundError:  # A parent of it is missing.
        return False
