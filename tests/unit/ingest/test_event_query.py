"""Whatever a request for events says, it is understood or refused, and never shows too much."""

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.s3_world import ALICE, MASTER_KEY, ROOT

from fileflux.ingest.auth import Principal
from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.event_cursor import Cursors
from fileflux.ingest.event_query import SEARCH_PARAMETERS, search_query, stream_query
from fileflux.ingest.parsed_request import RawRequest, parse_request
from fileflux.ingest.s3_errors import S3Error
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import NumberedRecord

TENANT = Principal(ALICE.user_id, "alice")
OPERATOR = Principal(ROOT.user_id, "root", is_root=True)
NAMES = st.one_of(st.sampled_from(sorted(SEARCH_PARAMETERS)), st.text(max_size=9))
VALUES = st.one_of(
    st.text(max_size=40),
    st.integers(min_value=-(1 << 70), max_value=1 << 70).map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "+23:59"),
    st.sampled_from(["start", "now", "PutObject", "PutObject,DeleteObject", "A" * 48, "", "٣"]),
)


class Empty:
    """A stream that has not begun."""

    name = "empty"

    async def read(self, position: int, *, bytes_max: int) -> Sequence[NumberedRecord]:
        return ()

    async def end(self) -> int:
        return 1


@settings(max_examples=400, deadline=None)
@given(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=4), last_id=VALUES)
def test_any_question_is_understood_or_refused_and_a_tenants_is_about_its_own(
    pairs: list[tuple[str, str]], last_id: str
) -> None:
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    headers = [(b"last-event-id", last_id.encode("utf-8")[:60])]
    refusals = {400}
    for who in (TENANT, OPERATOR):
        for ask in (stream_query, search_query):
            try:
                request = parse_request(RawRequest("GET", b"/events", query.encode(), headers))
                asked = asyncio.run(ask(request, who, AuditReader([Empty()]), Cursors(MASTER_KEY)))
            except (S3Error, S3RequestError) as refused:
                refusals.add(refused.status)
                continue
            assert asked.wanted.owner == ("" if who.is_root else ALICE.user_id.hex())
            assert asked.start >= 1
            assert 1 <= asked.limit <= 1_000
    assert refusals == {400}
