"""Any row that an audit record may carry, for property tests."""

from typing import Any

from hypothesis import strategies as st

from fileflux.core.changes import Outcome
from fileflux.core.model import Chunk, Manifest, ObjectMeta
from fileflux.metadata.row_keys import ROW_TYPES
from fileflux.metadata.rows import Row

IDS = st.binary(min_size=16, max_size=16)
TEXTS = st.text(max_size=20)
COUNTS = st.integers(0, 1 << 60)
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
METAS = st.builds(ObjectMeta, headers=MAPS, user=MAPS, checksums=MAPS, checksum_type=TEXTS)
CHUNKS = st.builds(Chunk, IDS, *[st.integers(0, (1 << 32) - 1)] * 3)
MANIFESTS = st.builds(Manifest, st.lists(CHUNKS, max_size=3).map(tuple)) | st.builds(
    Manifest,
    st.just(()),
    st.lists(st.tuples(st.integers(1, 10_000), COUNTS), max_size=3).map(tuple),
)
OUTCOMES = st.builds(
    Outcome, upload_id=IDS, version_id=st.none() | IDS, etag=TEXTS, stamp=COUNTS, checksums=MAPS
)
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "meta": METAS,
    "config": MAPS,
    "outcome": st.none() | OUTCOMES,
    "weight": st.floats(0, 10),
    "part_number": st.integers(1, 10_000),
    "state": st.sampled_from(["open", "completed", "aborted"]),
    "key": st.binary(max_size=20),
    "holder": st.binary(max_size=20),
    "secret": st.binary(max_size=20),
}
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "int": COUNTS,
    "str": TEXTS,
    "bool": st.booleans(),
    "Manifest": MANIFESTS,
    "Manifest | None": st.none() | MANIFESTS,
    "NodeId": TEXTS,
}


def any_row(kind: Any) -> st.SearchStrategy[Row]:
    fields = {}
    for name, field in kind.__dataclass_fields__.items():
        hint = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
        hint = hint or str(field.type).replace("fileflux.core.model.", "")
        fields[name] = BY_NAME.get(name, BY_TYPE.get(hint, IDS))
    return st.builds(kind, **fields)


ROWS = st.sampled_from(sorted(ROW_TYPES)).flatmap(lambda table: any_row(ROW_TYPES[table]))
