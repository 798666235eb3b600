"""docs/reference/settings.md, made from the settings classes of every service.

It lives in the console because only the console may see all services. Variables that are read
before or beside the settings are listed here by hand; a test looks for any that is missing.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

import fileflux
from fileflux.core.classes import ClassSettings
from fileflux.core.model import GIB, KIB, MIB
from fileflux.core.settings import ClusterSettings, CommonSettings, DatabaseSettings

HEADER: Final = """\
# Settings

Made from the settings classes by `python -m fileflux.console.settings_reference` (`make docs`); do
not edit it.

A service reads its environment once, at its start, and ends with exit code 2 and a list of every
problem when something is wrong or missing. Secrets have no defaults. A settings object never
changes while the process lives: to change a setting, restart the service. `fileflux dev` sets all
of this for the processes it starts and passes on what the person's environment has of `FILEFLUX_*`,
`KAFKA_*` and `OTEL_*`.

Any setting of the tables below may come out of a file: `DATABASE_URL_FILE=/run/secrets/database`
stands for `DATABASE_URL` with what that file holds, without its last line end. Giving both is an
error. That is how secrets reach a container without standing in its environment.
"""

SHARED: Final[Sequence[tuple[str, type[CommonSettings]]]] = (
    ("Every service", CommonSettings),
    ("Services that speak HTTP with each other", ClusterSettings),
    ("Services that reach the database", DatabaseSettings),
    ("Services that know storage classes", ClassSettings),
)

BESIDE: Final[Sequence[tuple[str, str, str]]] = (
    ("FILEFLUX_CACHE_DIR", "`.cache`", "`make`, `fileflux dev`: where downloads are kept."),
    ("FILEFLUX_FAILPOINTS", "empty", "Tests only: docs/reference/failpoints.md."),
    ("FILEFLUX_FAILPOINTS_FILE", "empty", "Tests only: a file of the same, read when it changes."),
    (
        "FILEFLUX_NEW_PASSWORD",
        "empty",
        "`fileflux admin user create`: the new user's password for HTTP Basic.",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "empty",
        "Every service: the collector of traces (OTLP over HTTP). Empty: nothing is recorded. "
        "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is the whole address.",
    ),
    ("OTEL_SERVICE_NAME", "`fileflux-…`", "Every service: its name in traces."),
    ("OTEL_RESOURCE_ATTRIBUTES", "empty", "Every service: `name=value`, comma separated."),
    (
        "OTEL_TRACES_SAMPLER",
        "`parentbased_always_on`",
        "Every service: which requests are recorded.",
    ),
    ("OTEL_TRACES_SAMPLER_ARG", "`1.0`", "Its ratio, if it has one."),
    (
        "OTEL_SDK_DISABLED",
        "`false`",
        "Every service: `true` records nothing. Other `OTEL_…` variables are the SDK's own.",
    ),
    ("FILEFLUX_INGEST_WORKER", "unset", "Set by an ingest for its workers; never by a person."),
)

_UNITS: Final = {"_bytes": "bytes", "_bytes_max": "bytes", "_s": "seconds", "_s_max": "seconds"}


def service_settings() -> list[tuple[str, type[CommonSettings]]]:
    """Return (service, settings class) for every service, in the order of their names."""
    shared = {cls for _, cls in SHARED}
    found = []
    for module in _settings_modules():
        for cls in vars(importlib.import_module(module)).values():
            is_ours = isinstance(cls, type) and issubclass(cls, CommonSettings)
            if is_ours and cls.__module__ == module and cls not in shared:
                found.append((_service_name(module, cls), cls))
    return sorted(found, key=lambda one: one[0])


def _settings_modules() -> list[str]:
    walked = pkgutil.walk_packages(fileflux.__path__, "fileflux.")
    return [one.name for one in walked if one.name.rpartition(".")[2] == "settings"]


def _service_name(module: str, cls: type) -> str:
    """`placement`; a package of several processes names the class's too: `metadata sequencer`.

    A class made of several of the package's own is for the process that does all of it.
    """
    package = module.split(".")[1]
    if len(cls.__bases__) > 1 and all(base.__module__ == module for base in cls.__bases__):
        return f"{package} all"
    own = cls.__name__.removesuffix("Settings").lower()
    return package if own in package or package in own else f"{package} {own}"


def variables_of(cls: type[CommonSettings]) -> set[str]:
    """Return the names in the environment that this class reads."""
    return {str(info.alias) for info in cls.model_fields.values()}


def render() -> str:
    """Return the whole page."""
    services = service_settings()
    lines = [HEADER]
    for title, cls in SHARED:
        readers = [name for name, service in services if issubclass(service, cls)]
        lines += [f"## {title}", ""]
        if cls is not CommonSettings:
            lines += [f"Read by: {', '.join(readers)}.", ""]
        lines += [*_table(cls), ""]
    for name, cls in services:
        lines += [f"## {name}", "", _inherits(cls), ""]
        if vars(cls).get("__annotations__"):
            lines += [*_table(cls), ""]
    lines += ["## Read beside the settings", "", "| variable | default | what it is |"]
    lines += ["|---|---|---|", *(f"| `{n}` | {d} | {what} |" for n, d, what in BESIDE)]
    return "\n".join(lines).rstrip() + "\n"


def _inherits(cls: type[CommonSettings]) -> str:
    """Links to the shared tables that this service reads too."""
    links = [
        f"[{title}](#{title.lower().replace(' ', '-')})"
        for title, base in SHARED
        if issubclass(cls, base)
    ]
    return f"Also: {' · '.join(links)}."


def _table(cls: type[CommonSettings]) -> Iterator[str]:
    """One row for each field that the class itself declares."""
    yield "| variable | default | unit or values | what it is |"
    yield "|---|---|---|---|"
    meanings = descriptions(cls)
    for name in vars(cls).get("__annotations__", {}):
        info = cls.model_fields[name]
        cells = [f"`{info.alias}`", _default(name, info), _values(name, info)]
        yield f"| {' | '.join(cells)} | {meanings.get(name, '')} |"


def descriptions(cls: type) -> Mapping[str, str]:
    """Return the sentence below each field of the class itself."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            text = ast.literal_eval(after.value)  # type: ignore[attr-defined]  # is_text said so.
            found[field.target.id] = re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
    return found


def _default(name: str, info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    if info.default_factory is not None:
        return f"`{getattr(info.default_factory, '__name__', 'made')}()`"
    value = info.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in ("", None):
        return "empty"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int) and "bytes" in name:
        return f"`{value}` ({_readable(value)})"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _readable(size: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _values(name: str, info: FieldInfo) -> str:
    words = [unit for ending, unit in _UNITS.items() if name.endswith(ending)]
    if get_origin(info.annotation) is Literal:
        words.append(", ".join(f"`{value}`" for value in get_args(info.annotation)))
    if info.annotation is bool:
        words.append("`true`, `false`")
    if info.annotation is SecretStr:
        words.append("secret")
    words += [text for rule in info.metadata for text in _rules(rule)]
    return ", ".join(words)


def _rules(rule: Any) -> Iterator[str]:
    """What a constraint says, for a person."""
    spoken = {
        "ge": "at least {}",
        "gt": "more than {}",
        "le": "at most {}",
        "min_length": "at least {} characters",
        "pattern": "`{}`",
    }
    for attribute, text in spoken.items():
        value = getattr(rule, attribute, None)
        if value is not None:
            yield text.format(f"{value:g}" if isinstance(value, float) else value)


if __name__ == "__main__":
    sys.stdout.write(render())
