"""Apply audit records to empty tables. Effects are applied, nothing is decided again."""

from collections.abc import Iterable

from fileflux.metadata.row_keys import RowKey, floor_of
from fileflux.metadata.rows import AUDITED_TABLES, AuditRecord, FloorRow, Row

Tables = dict[str, dict[RowKey, Row]]
Floors = dict[tuple[str, bytes], FloorRow]


def empty_tables() -> Tables:
    return {table: {} for table in AUDITED_TABLES}


def replay(records: Iterable[AuditRecord], tables: Tables, floors: Floors) -> None:
    """Apply the records' effects in order. Applying a stream again gives the same tables."""
    for record in records:
        for effect in record.effects:
            table = tables[effect.table]
            if effect.row is not None:
                table[effect.key] = effect.row
                continue
            former = table.pop(effect.key, None)
            floor = None if former is None else floor_of(former, record.stamp)
            if floor is not None:
                floors[(floor.table, floor.key)] = floor
