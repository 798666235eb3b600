"""What the database refuses, and rows that cannot be read: they fail whom they concern."""

import random

import pytest
from tests.model.metadata_ports import Metadata, make_metadata

from fileflux.core.errors import Corrupt
from fileflux.core.ids import UploadId
from fileflux.ingest.s3_errors import s3_error
from fileflux.metadata.postgres import Connections, PostgresDatabase, PostgresReader
from fileflux.metadata.postgres_fetch import ArgumentRefused

pytestmark = pytest.mark.postgres


@pytest.fixture
def metadata(connections: Connections) -> Metadata:
    database = PostgresDatabase(connections, rng=random.Random(1))
    return make_metadata(database, PostgresReader(connections))


async def test_a_row_that_cannot_be_read_fails_its_own_readers_only(
    metadata: Metadata, connections: Connections
) -> None:
    bucket = await metadata.made_bucket()
    puts = [metadata.maker.put(bucket, key) for key in (b"good", b"rotten")]
    await metadata.do(*puts)
    connection = await connections.take()
    await connection.execute(
        "UPDATE objects SET manifest = 'rot' WHERE key = 'rotten' AND bucket_id = $1",
        bucket.bucket_id,
    )
    await connections.give_back(connection)

    good, rotten = await metadata.reader.find_objects(
        [(bucket.bucket, b"good"), (bucket.bucket, b"rotten")]
    )
    row = good.current()
    assert row is not None
    assert row.version_id == puts[0].upload_id
    with pytest.raises(Corrupt, match=puts[1].upload_id.hex()):
        rotten.current()


async def test_a_value_that_a_column_cannot_hold_is_the_askers_fault(metadata: Metadata) -> None:
    upload_id = UploadId(metadata.maker.id())
    with pytest.raises(ArgumentRefused) as refused:
        await metadata.reader.list_parts(upload_id, after=1 << 63, max_parts=10)

    assert s3_error(refused.value).status == 400
    assert await metadata.reader.list_parts(upload_id, after=0, max_parts=10) == []
