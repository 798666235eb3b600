"""The storage node's HTTP contract, and the staging's: paths, headers, frames.

Every request is signed with the cluster secret (`internal_auth`). Bytes a node sends are blocks
with their checksums, and the reader verifies them: the node's word is not taken for it.

    GET  /v1/bundles/{bundle}                      the whole bundle, byte for byte (Range allowed)
    GET  /v1/bundles/{bundle}/chunks/{number}      ?start=&length=   a slice of a chunk, framed
    HEAD /v1/bundles/{bundle}                      204 and X-FileFlux-Crc, X-FileFlux-Size, or 404
    GET  /v1/inventory?after={bundle}&limit=       msgpack list of (bundle, size, crc), by id
    GET  /v1/records?after={bundle}&limit=         what bundles say of themselves (`node_records`)
    POST /v1/bundles/drop                          msgpack list of (bundle, [chunk numbers])
    GET  /v1/staging/{incarnation}/{bundle}        on ingest's internal port: a staged bundle file

A framed slice: u32 big-endian count of blocks, that many u32 CRC32Cs, then the blocks. The first
block is the one that holds byte `start` of the chunk, at a multiple of 64 KiB; the last block may
be short. `X-FileFlux-Chunk-Size` is the size of the whole chunk.
"""

from typing import Final

BUNDLE_PATH: Final = "/v1/bundles/{bundle_id}"
CHUNK_PATH: Final = "/v1/bundles/{bundle_id}/chunks/{number}"
INVENTORY_PATH: Final = "/v1/inventory"
RECORDS_PATH: Final = "/v1/records"
DROP_PATH: Final = "/v1/bundles/drop"
STAGING_PATH: Final = "/v1/staging/{incarnation}/{bundle_id}"

CRC_HEADER: Final = "X-FileFlux-Crc"
SIZE_HEADER: Final = "X-FileFlux-Size"
CHUNK_SIZE_HEADER: Final = "X-FileFlux-Chunk-Size"
EPOCH_HEADER: Final = "X-FileFlux-Node-Epoch"
