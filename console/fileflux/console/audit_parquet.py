"""Audit events as a Parquet file, with the columns that people ask for and each record's bytes.

`pyarrow` is an extra (`pip install 'fileflux[parquet]'`): nothing else needs it. A Parquet file has
its directory at its end, so a stopped export begins anew; the file is whole or not there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fileflux.console.audit_export import ExportRefused, partial_of
from fileflux.metadata.audit_filter import OpenedRecord

GROUP_ROWS: Final = 10_000
_ACTOR: Final = ("user_id", "user_name", "key_id", "source_address", "user_agent", "request_id")
_FACTS: Final = ("outcome", "version", "etag", "owner")


def load_pyarrow() -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`; raise ExportRefused without them."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ExportRefused(
            "Parquet needs pyarrow, which is not installed: pip install 'fileflux[parquet]', "
            "or export --format jsonl"
        ) from None
    return pyarrow, pyarrow.parquet


class ParquetFile:
    """A sink of rows in groups."""

    def __init__(self, path: Path, *, start: int) -> None:
        self._arrow, parquet = load_pyarrow()
        self._path = path
        self._schema = _schema(self._arrow)
        self._writer = parquet.ParquetWriter(partial_of(path), self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self.position = start
        self.count = 0

    def write(self, events: Sequence[OpenedRecord], next_position: int) -> None:
        self._rows += map(row_of, events)
        self.position = next_position
        self.count += len(events)
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()
        partial_of(self._path).replace(self._path)

    def close(self) -> None:
        """A part of it cannot be read: it goes."""
        self._writer.close()
        partial_of(self._path).unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
            self._rows = []


def row_of(opened: OpenedRecord) -> dict[str, Any]:
    """Return an event's columns. `record`: the bytes that the chain covers."""
    record, event, data = opened.record, opened.event, opened.data
    size = data["facts"].get("size")
    return {
        "position": record.position,
        "stream": record.stream.hex(),
        "sequence": record.sequence,
        "prevhash": record.previous_hash,
        **{name: event[name] for name in ("id", "source", "type")},
        "time": data["stamp"],
        "operation": data["operation"],
        "bucket": data["bucket"],
        "key": opened.key,
        **{name: data["actor"].get(name) for name in _ACTOR},
        **{name: data["facts"].get(name) for name in _FACTS},
        "size": size if isinstance(size, int) else None,
        "record": record.payload,
    }


def _schema(arrow: Any) -> Any:
    texts = ("id", "source", "type", "operation", "bucket", *_ACTOR, *_FACTS)
    return arrow.schema(
        [
            ("position", arrow.int64()),
            ("stream", arrow.string()),
            ("sequence", arrow.int64()),
            ("prevhash", arrow.binary(32)),
            ("time", arrow.timestamp("us", tz="UTC")),
            *((name, arrow.string()) for name in texts),
            ("key", arrow.binary()),
            ("size", arrow.int64()),
            ("record", arrow.binary()),
        ]
    )
