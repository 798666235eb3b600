"""Names that tenants chose, shown to operators."""

import io
from dataclasses import replace

from rich.console import Console
from tests.model.metadata_changes import Maker

from fileflux.console.audit_lines import line_of
from fileflux.console.upload_story import show_places
from fileflux.metadata.apply import apply
from fileflux.metadata.audit_filter import OpenedRecord
from fileflux.metadata.audit_record import encode_record
from fileflux.metadata.chain import FIRST_HASH, NumberedRecord
from fileflux.metadata.rows import AuditRecord, Rows

KEY = "[id]/x[/b]\x1b]0;owned\x07\nend"


def _record() -> AuditRecord:
    maker = Maker(1)
    bucket = maker.bucket()
    writes, _ = apply(Rows(clock_us=1), [maker.user(), bucket])
    return replace(writes.audit[-1], key=KEY.encode())


def test_a_key_is_shown_as_it_is_and_no_terminal_obeys_it() -> None:
    shown = io.StringIO()

    show_places(Console(file=shown), _record(), {})

    assert r"[id]/x[/b]\x1b]0;owned\x07\nend" in shown.getvalue()


def test_a_record_of_the_audit_stream_is_one_line() -> None:
    record = _record()
    assert record.bucket_id is not None
    numbered = NumberedRecord(1, record.bucket_id, 1, FIRST_HASH, encode_record(record))

    assert line_of(OpenedRecord(numbered), as_json=False).isprintable()
