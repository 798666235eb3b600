"""What the rebuild's bench measures is a real rebuild of a whole chain."""

from pathlib import Path

from tests.bench.rebuild import write_export
from tests.model.rebuild_world import rebuild

from fileflux.metadata.memory import MemoryDatabase
from fileflux.metadata.record_sources import FileRecords


async def test_the_benchs_export_is_a_chain_that_rebuilds(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_export(path, 500)
    made = MemoryDatabase()
    done = await rebuild(FileRecords(path), made)

    assert (done.records, done.position) == (500, 500)
    objects, bundles = (made.tables.rows(name) for name in ("objects", "bundles"))
    assert 300 < len(objects) < 500
    assert len(made.tables.rows("replicas")) == 3 * len(bundles) > 0
    assert made.tables.rows("floors"), "some keys were deleted"
