-- Every statement that the metadata package runs, by name: `-- name --`, a sentence, the statement.
-- Only what PostgreSQL and CockroachDB both accept. Arrays are parameters, never columns. A write
-- ends in RETURNING 1, because several of them run as the CTEs of one statement (queries.py).

-- load_sealing --
-- All that a usual write reads, one kind after another in columns that they share
-- (postgres_loads.py). A key without an object tells its floor instead: a living row's stamp is
-- larger than any floor before it, and what is not read conflicts with nobody.
SELECT 0::INT8 AS kind, NULL::BYTEA AS b1, NULL::BYTEA AS b2, NULL::BYTEA AS b3, NULL::BYTEA AS b4,
    NULL::BYTEA AS b5, NULL::TEXT AS t1, NULL::TEXT AS t2, NULL::JSONB AS j1, NULL::BOOL AS f1,
    (extract(epoch FROM clock_timestamp()) * 1000000)::INT8 AS n1, NULL::INT8 AS n2,
    NULL::INT8 AS n3
UNION ALL
SELECT 1, s.seal_id, s.outcomes, NULL, NULL, NULL, NULL, NULL, NULL, s.aborted, s.settled_us, NULL,
    NULL
FROM unnest($1::BYTEA[]) AS w (seal_id) JOIN settlements AS s ON s.seal_id = w.seal_id
UNION ALL
SELECT 2, r.bundle_id, NULL, NULL, NULL, NULL, r.node_id, NULL, NULL, NULL, r.epoch, r.size, r.crc
FROM unnest($2::BYTEA[]) AS w (bundle_id) JOIN replicas AS r ON r.bundle_id = w.bundle_id
UNION ALL
SELECT 3, b.bundle_id, NULL, NULL, NULL, NULL, b.state, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($2::BYTEA[]) AS w (bundle_id) JOIN bundles AS b ON b.bundle_id = w.bundle_id
UNION ALL
SELECT 4, b.bucket_id, b.owner_id, NULL, NULL, NULL, b.name, b.storage_class, b.config, NULL,
    b.created_us, b.row_stamp, NULL
FROM unnest($3::BYTEA[]) AS w (bucket_id) JOIN buckets AS b ON b.bucket_id = w.bucket_id
UNION ALL
SELECT 5, w.bucket_id, o.key, o.version_id, o.manifest, o.content_id, o.etag, o.storage_class,
    o.meta, o.shared, CASE WHEN o.key IS NULL THEN (
        SELECT f.stamp FROM floors AS f
        WHERE f.table_name = 'objects' AND f.key = w.bucket_id || w.key
    ) ELSE o.stamp END, o.row_stamp, o.size
FROM unnest($4::BYTEA[], $5::BYTEA[]) AS w (bucket_id, key)
LEFT JOIN objects AS o ON o.bucket_id = w.bucket_id AND o.key = w.key;

-- load_settlements --
-- What came of these seals, as far as they have settled.
SELECT s.seal_id, s.outcomes, s.aborted, s.settled_us
FROM unnest($1::BYTEA[]) AS w (seal_id) JOIN settlements AS s ON s.seal_id = w.seal_id;

-- load_replicas --
-- Which nodes confirmed these bundles.
SELECT r.bundle_id, r.node_id, r.epoch, r.size, r.crc
FROM unnest($1::BYTEA[]) AS w (bundle_id) JOIN replicas AS r ON r.bundle_id = w.bundle_id;

-- load_bundle_states --
-- The state of these bundles; one without a row is staged.
SELECT b.bundle_id, b.state
FROM unnest($1::BYTEA[]) AS w (bundle_id) JOIN bundles AS b ON b.bundle_id = w.bundle_id;

-- load_clock --
-- The database's clock in microseconds, read after the snapshot.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::INT8 AS clock_us;

-- load_floors --
-- The largest stamp that removed rows of one table left under these keys.
SELECT max(f.stamp) AS stamp
FROM unnest($2::BYTEA[]) AS w (key)
JOIN floors AS f ON f.table_name = $1::TEXT AND f.key = w.key;

-- load_buckets_by_name --
-- Buckets by their names, which are unique.
SELECT b.bucket_id, b.name, b.owner_id, b.storage_class, b.created_us, b.config, b.row_stamp
FROM unnest($1::TEXT[]) AS w (name) JOIN buckets AS b ON b.name = w.name;

-- load_non_empty --
-- Which of these buckets hold an object besides the keys given.
SELECT w.bucket_id
FROM unnest($1::BYTEA[]) AS w (bucket_id)
WHERE EXISTS (
    SELECT 1 FROM objects AS o
    WHERE o.bucket_id = w.bucket_id AND NOT EXISTS (
        SELECT 1 FROM unnest($2::BYTEA[], $3::BYTEA[]) AS k (bucket_id, key)
        WHERE k.bucket_id = o.bucket_id AND k.key = o.key
    )
);

-- load_bucket_floor --
-- The largest stamp that any key of a bucket or any of its uploads left: the ends of two indexes.
SELECT greatest(
    (SELECT f.stamp FROM floors AS f
     WHERE f.table_name = 'objects' AND substring(f.key, 1, 16) = $1::BYTEA
     ORDER BY f.stamp DESC LIMIT 1),
    (SELECT u.row_stamp FROM uploads AS u WHERE u.bucket_id = $1::BYTEA
     ORDER BY u.row_stamp DESC LIMIT 1)
) AS stamp;

-- load_open_uploads --
-- The first open multipart uploads of a bucket, by their ids.
SELECT upload_id, bucket_id, key, meta, storage_class, checksum_algorithm, checksum_type,
    created_us, state, owner_id, row_stamp, outcome
FROM uploads
WHERE bucket_id = $1::BYTEA AND state = 'open'
ORDER BY upload_id LIMIT $2::INT8;

-- load_uploads --
-- Multipart uploads by their ids.
SELECT u.upload_id, u.bucket_id, u.key, u.meta, u.storage_class, u.checksum_algorithm,
    u.checksum_type, u.created_us, u.state, u.owner_id, u.row_stamp, u.outcome
FROM unnest($1::BYTEA[]) AS w (upload_id) JOIN uploads AS u ON u.upload_id = w.upload_id;

-- load_parts --
-- Parts of multipart uploads by their numbers.
SELECT p.upload_id, p.part_number, p.size, p.etag, p.meta, p.manifest, p.content_id, p.modified_us,
    p.row_stamp, p.shared
FROM unnest($1::BYTEA[], $2::INT8[]) AS w (upload_id, part_number)
JOIN parts AS p ON p.upload_id = w.upload_id AND p.part_number = w.part_number;

-- load_all_parts --
-- Every part of these multipart uploads.
SELECT p.upload_id, p.part_number, p.size, p.etag, p.meta, p.manifest, p.content_id, p.modified_us,
    p.row_stamp, p.shared
FROM unnest($1::BYTEA[]) AS w (upload_id) JOIN parts AS p ON p.upload_id = w.upload_id;

-- load_holders --
-- Of each shared content the row without a holder and the first $2 - 1 of its holders.
SELECT h.content_id, h.holder, h.row_stamp, h.manifest
FROM unnest($1::BYTEA[]) AS w (content_id)
CROSS JOIN LATERAL (
    SELECT content_id, holder, row_stamp, manifest FROM holders
    WHERE holders.content_id = w.content_id ORDER BY holder LIMIT $2::INT8
) AS h;

-- load_users --
-- Users by their ids.
SELECT u.user_id, u.name, u.password_hash, u.is_root, u.created_us, u.row_stamp
FROM unnest($1::BYTEA[]) AS w (user_id) JOIN users AS u ON u.user_id = w.user_id;

-- load_users_by_name --
-- Users by their names, which are unique.
SELECT u.user_id, u.name, u.password_hash, u.is_root, u.created_us, u.row_stamp
FROM unnest($1::TEXT[]) AS w (name) JOIN users AS u ON u.name = w.name;

-- load_keys --
-- Access keys by their names.
SELECT k.access_key, k.user_id, k.secret, k.active, k.created_us, k.row_stamp
FROM unnest($1::TEXT[]) AS w (access_key) JOIN access_keys AS k ON k.access_key = w.access_key;

-- load_keys_of_users --
-- Every access key of these users.
SELECT k.access_key, k.user_id, k.secret, k.active, k.created_us, k.row_stamp
FROM unnest($1::BYTEA[]) AS w (user_id) JOIN access_keys AS k ON k.user_id = w.user_id;

-- load_owned_buckets --
-- How many buckets each of these users owns.
SELECT b.owner_id, count(*) AS bucket_count
FROM unnest($1::BYTEA[]) AS w (user_id) JOIN buckets AS b ON b.owner_id = w.user_id
GROUP BY b.owner_id;

-- load_nodes --
-- What operators want of these nodes.
SELECT n.node_id, n.intent, n.weight, n.row_stamp
FROM unnest($1::TEXT[]) AS w (node_id) JOIN nodes AS n ON n.node_id = w.node_id;

-- load_async_uploads --
-- Accepted asynchronous uploads by their ids.
SELECT a.upload_id, a.bucket_id, a.key, a.state, a.created_us, a.row_stamp
FROM unnest($1::BYTEA[]) AS w (upload_id) JOIN async_uploads AS a ON a.upload_id = w.upload_id;

-- load_holds --
-- Holds by their ids.
SELECT h.hold_id, h.kind, h.reason, h.from_position, h.from_us, h.until_us, h.created_us,
    h.row_stamp
FROM unnest($1::BYTEA[]) AS w (hold_id) JOIN history_holds AS h ON h.hold_id = w.hold_id;

-- load_garbage --
-- The garbage of these bundles that no compactor has ever claimed: its bytes are certainly there.
SELECT g.bundle_id, g.dropped_by, g.chunk_numbers, g.size, g.at_us
FROM unnest($1::BYTEA[]) AS w (bundle_id) JOIN garbage AS g ON g.bundle_id = w.bundle_id
WHERE g.claimed_until_us = 0;

-- load_deletions --
-- When each of these keys of objects was deleted last, as far as that is remembered.
SELECT f.key, f.stamp
FROM unnest($1::BYTEA[]) AS w (key)
JOIN floors AS f ON f.table_name = 'objects' AND f.key = w.key;

-- put_objects --
-- Make these rows the current versions of their keys.
INSERT INTO objects (bucket_id, key, version_id, stamp, row_stamp, size, etag, meta, manifest,
    content_id, storage_class, shared, bundle_id)
SELECT n.bucket_id, n.key, n.version_id, n.stamp, n.row_stamp, n.size, n.etag, n.meta::JSONB,
    n.manifest, n.content_id, n.storage_class, n.shared, n.bundle_id
FROM unnest($1::BYTEA[], $2::BYTEA[], $3::BYTEA[], $4::INT8[], $5::INT8[], $6::INT8[], $7::TEXT[],
    $8::TEXT[], $9::BYTEA[], $10::BYTEA[], $11::TEXT[], $12::BOOL[], $13::BYTEA[])
    AS n (bucket_id, key, version_id, stamp, row_stamp, size, etag, meta, manifest, content_id,
    storage_class, shared, bundle_id)
ON CONFLICT (bucket_id, key) DO UPDATE SET version_id = excluded.version_id,
    stamp = excluded.stamp, row_stamp = excluded.row_stamp, size = excluded.size,
    etag = excluded.etag, meta = excluded.meta, manifest = excluded.manifest,
    content_id = excluded.content_id, storage_class = excluded.storage_class,
    shared = excluded.shared, bundle_id = excluded.bundle_id
RETURNING 1;

-- delete_objects --
-- Remove the current versions of these keys.
DELETE FROM objects
WHERE (bucket_id, key) IN (SELECT * FROM unnest($1::BYTEA[], $2::BYTEA[]))
RETURNING 1;

-- put_buckets --
-- Store these buckets.
INSERT INTO buckets (bucket_id, name, owner_id, storage_class, created_us, config, row_stamp)
SELECT n.bucket_id, n.name, n.owner_id, n.storage_class, n.created_us, n.config::JSONB, n.row_stamp
FROM unnest($1::BYTEA[], $2::TEXT[], $3::BYTEA[], $4::TEXT[], $5::INT8[], $6::TEXT[], $7::INT8[])
    AS n (bucket_id, name, owner_id, storage_class, created_us, config, row_stamp)
ON CONFLICT (bucket_id) DO UPDATE SET name = excluded.name, owner_id = excluded.owner_id,
    storage_class = excluded.storage_class, created_us = excluded.created_us,
    config = excluded.config, row_stamp = excluded.row_stamp
RETURNING 1;

-- delete_buckets --
-- Remove these buckets.
DELETE FROM buckets WHERE bucket_id IN (SELECT unnest($1::BYTEA[])) RETURNING 1;

-- put_uploads --
-- Store these multipart uploads.
INSERT INTO uploads (upload_id, bucket_id, key, meta, storage_class, checksum_algorithm,
    checksum_type, created_us, state, owner_id, row_stamp, outcome)
SELECT n.upload_id, n.bucket_id, n.key, n.meta::JSONB, n.storage_class, n.checksum_algorithm,
    n.checksum_type, n.created_us, n.state, n.owner_id, n.row_stamp, n.outcome
FROM unnest($1::BYTEA[], $2::BYTEA[], $3::BYTEA[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[],
    $8::INT8[], $9::TEXT[], $10::BYTEA[], $11::INT8[], $12::BYTEA[])
    AS n (upload_id, bucket_id, key, meta, storage_class, checksum_algorithm, checksum_type,
    created_us, state, owner_id, row_stamp, outcome)
ON CONFLICT (upload_id) DO UPDATE SET bucket_id = excluded.bucket_id, key = excluded.key,
    meta = excluded.meta, storage_class = excluded.storage_class,
    checksum_algorithm = excluded.checksum_algorithm, checksum_type = excluded.checksum_type,
    created_us = excluded.created_us, state = excluded.state, owner_id = excluded.owner_id,
    row_stamp = excluded.row_stamp, outcome = excluded.outcome
RETURNING 1;

-- delete_uploads --
-- Remove these multipart uploads.
DELETE FROM uploads WHERE upload_id IN (SELECT unnest($1::BYTEA[])) RETURNING 1;

-- put_parts --
-- Store these parts.
INSERT INTO parts (upload_id, part_number, size, etag, meta, manifest, content_id, modified_us,
    row_stamp, shared)
SELECT n.upload_id, n.part_number, n.size, n.etag, n.meta::JSONB, n.manifest, n.content_id,
    n.modified_us, n.row_stamp, n.shared
FROM unnest($1::BYTEA[], $2::INT8[], $3::INT8[], $4::TEXT[], $5::TEXT[], $6::BYTEA[], $7::BYTEA[],
    $8::INT8[], $9::INT8[], $10::BOOL[])
    AS n (upload_id, part_number, size, etag, meta, manifest, content_id, modified_us, row_stamp,
    shared)
ON CONFLICT (upload_id, part_number) DO UPDATE SET size = excluded.size, etag = excluded.etag,
    meta = excluded.meta, manifest = excluded.manifest, content_id = excluded.content_id,
    modified_us = excluded.modified_us, row_stamp = excluded.row_stamp, shared = excluded.shared
RETURNING 1;

-- delete_parts --
-- Remove these parts.
DELETE FROM parts
WHERE (upload_id, part_number) IN (SELECT * FROM unnest($1::BYTEA[], $2::INT8[]))
RETURNING 1;

-- put_holders --
-- Store these holders of shared content.
INSERT INTO holders (content_id, holder, row_stamp, manifest)
SELECT n.content_id, n.holder, n.row_stamp, n.manifest
FROM unnest($1::BYTEA[], $2::BYTEA[], $3::INT8[], $4::BYTEA[])
    AS n (content_id, holder, row_stamp, manifest)
ON CONFLICT (content_id, holder) DO UPDATE SET row_stamp = excluded.row_stamp,
    manifest = excluded.manifest
RETURNING 1;

-- delete_holders --
-- Remove these holders.
DELETE FROM holders
WHERE (content_id, holder) IN (SELECT * FROM unnest($1::BYTEA[], $2::BYTEA[]))
RETURNING 1;

-- put_users --
-- Store these users.
INSERT INTO users (user_id, name, password_hash, is_root, created_us, row_stamp)
SELECT n.user_id, n.name, n.password_hash, n.is_root, n.created_us, n.row_stamp
FROM unnest($1::BYTEA[], $2::TEXT[], $3::TEXT[], $4::BOOL[], $5::INT8[], $6::INT8[])
    AS n (user_id, name, password_hash, is_root, created_us, row_stamp)
ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash,
    is_root = excluded.is_root, created_us = excluded.created_us, row_stamp = excluded.row_stamp
RETURNING 1;

-- delete_users --
-- Remove these users.
DELETE FROM users WHERE user_id IN (SELECT unnest($1::BYTEA[])) RETURNING 1;

-- put_access_keys --
-- Store these access keys.
INSERT INTO access_keys (access_key, user_id, secret, active, created_us, row_stamp)
SELECT n.access_key, n.user_id, n.secret, n.active, n.created_us, n.row_stamp
FROM unnest($1::TEXT[], $2::BYTEA[], $3::BYTEA[], $4::BOOL[], $5::INT8[], $6::INT8[])
    AS n (access_key, user_id, secret, active, created_us, row_stamp)
ON CONFLICT (access_key) DO UPDATE SET user_id = excluded.user_id, secret = excluded.secret,
    active = excluded.active, created_us = excluded.created_us, row_stamp = excluded.row_stamp
RETURNING 1;

-- delete_access_keys --
-- Remove these access keys.
DELETE FROM access_keys WHERE access_key IN (SELECT unnest($1::TEXT[])) RETURNING 1;

-- put_nodes --
-- Store what operators want of these nodes.
INSERT INTO nodes (node_id, intent, weight, row_stamp)
SELECT n.node_id, n.intent, n.weight, n.row_stamp
FROM unnest($1::TEXT[], $2::TEXT[], $3::FLOAT8[], $4::INT8[])
    AS n (node_id, intent, weight, row_stamp)
ON CONFLICT (node_id) DO UPDATE SET intent = excluded.intent, weight = excluded.weight,
    row_stamp = excluded.row_stamp
RETURNING 1;

-- delete_nodes --
-- Forget these nodes.
DELETE FROM nodes WHERE node_id IN (SELECT unnest($1::TEXT[])) RETURNING 1;

-- put_async_uploads --
-- Store these accepted asynchronous uploads.
INSERT INTO async_uploads (upload_id, bucket_id, key, state, created_us, row_stamp)
SELECT n.upload_id, n.bucket_id, n.key, n.state, n.created_us, n.row_stamp
FROM unnest($1::BYTEA[], $2::BYTEA[], $3::BYTEA[], $4::TEXT[], $5::INT8[], $6::INT8[])
    AS n (upload_id, bucket_id, key, state, created_us, row_stamp)
ON CONFLICT (upload_id) DO UPDATE SET bucket_id = excluded.bucket_id, key = excluded.key,
    state = excluded.state, created_us = excluded.created_us, row_stamp = excluded.row_stamp
RETURNING 1;

-- delete_async_uploads --
-- Forget these asynchronous uploads.
DELETE FROM async_uploads WHERE upload_id IN (SELECT unnest($1::BYTEA[])) RETURNING 1;

-- put_history_holds --
-- Store these holds.
INSERT INTO history_holds
    (hold_id, kind, reason, from_position, from_us, until_us, created_us, row_stamp)
SELECT n.hold_id, n.kind, n.reason, n.from_position, n.from_us, n.until_us, n.created_us,
    n.row_stamp
FROM unnest($1::BYTEA[], $2::TEXT[], $3::TEXT[], $4::INT8[], $5::INT8[], $6::INT8[], $7::INT8[],
    $8::INT8[])
    AS n (hold_id, kind, reason, from_position, from_us, until_us, created_us, row_stamp)
ON CONFLICT (hold_id) DO UPDATE SET kind = excluded.kind, reason = excluded.reason,
    from_position = excluded.from_position, from_us = excluded.from_us,
    until_us = excluded.until_us, created_us = excluded.created_us,
    row_stamp = excluded.row_stamp
RETURNING 1;

-- delete_history_holds --
-- Remove these holds.
DELETE FROM history_holds WHERE hold_id IN (SELECT unnest($1::BYTEA[])) RETURNING 1;

-- put_floors --
-- Store what removed rows leave.
INSERT INTO floors (table_name, key, stamp)
SELECT n.table_name, n.key, n.stamp
FROM unnest($1::TEXT[], $2::BYTEA[], $3::INT8[]) AS n (table_name, key, stamp)
ON CONFLICT (table_name, key) DO UPDATE SET stamp = excluded.stamp
RETURNING 1;

-- put_bundles --
-- Make these bundles live.
INSERT INTO bundles (bundle_id, size_class, state, wanted, size, crc, at_us)
SELECT n.bundle_id, n.size_class, n.state, n.wanted, n.size, n.crc, n.at_us
FROM unnest($1::BYTEA[], $2::INT8[], $3::TEXT[], $4::INT8[], $5::INT8[], $6::INT8[], $7::INT8[])
    AS n (bundle_id, size_class, state, wanted, size, crc, at_us)
ON CONFLICT (bundle_id) DO UPDATE SET size_class = excluded.size_class, state = excluded.state,
    wanted = excluded.wanted, size = excluded.size, crc = excluded.crc, at_us = excluded.at_us
RETURNING 1;

-- put_garbage --
-- Add chunks that nobody references any more to the compactor's work list.
INSERT INTO garbage (bundle_id, dropped_by, chunk_numbers, size, at_us, claimed_until_us)
SELECT n.bundle_id, n.dropped_by, n.chunk_numbers, n.size, n.at_us, 0
FROM unnest($1::BYTEA[], $2::BYTEA[], $3::BYTEA[], $4::INT8[], $5::INT8[])
    AS n (bundle_id, dropped_by, chunk_numbers, size, at_us)
ON CONFLICT (bundle_id, dropped_by) DO NOTHING
RETURNING 1;

-- delete_garbage --
-- Take chunks off the compactor's work list that somebody references again.
DELETE FROM garbage
WHERE (bundle_id, dropped_by) IN (SELECT * FROM unnest($1::BYTEA[], $2::BYTEA[]))
RETURNING 1;

-- put_replicas --
-- A node's confirmation of a bundle; the latest one counts.
INSERT INTO replicas (bundle_id, node_id, epoch, size, crc)
SELECT n.bundle_id, n.node_id, n.epoch, n.size, n.crc
FROM unnest($1::BYTEA[], $2::TEXT[], $3::INT8[], $4::INT8[], $5::INT8[])
    AS n (bundle_id, node_id, epoch, size, crc)
ON CONFLICT (bundle_id, node_id) DO UPDATE SET epoch = excluded.epoch, size = excluded.size,
    crc = excluded.crc
RETURNING 1;

-- add_settlements --
-- A seal settles once: a second row for it is a unique violation on purpose.
INSERT INTO settlements (seal_id, outcomes, aborted, settled_us)
SELECT n.seal_id, n.outcomes, n.aborted, n.settled_us
FROM unnest($1::BYTEA[], $2::BYTEA[], $3::BOOL[], $4::INT8[])
    AS n (seal_id, outcomes, aborted, settled_us)
RETURNING 1;

-- add_audit_pending --
-- Leave the records of this transaction for the sequencer.
INSERT INTO audit_pending (block_id, stamp, payload)
VALUES ($1::BYTEA, $2::INT8, $3::BYTEA)
RETURNING 1;

-- move_positions --
-- Compare-and-set by turn: a row comes back for every position that was still ours.
INSERT INTO positions (topic, lane, turn, next_offset, before_us, before_crc)
SELECT n.topic, n.lane, n.turn, n.next_offset, n.before_us, n.before_crc
FROM unnest($1::TEXT[], $2::INT8[], $3::INT8[], $4::INT8[], $5::INT8[], $6::INT8[])
    AS n (topic, lane, turn, next_offset, before_us, before_crc)
ON CONFLICT (topic, lane) DO UPDATE SET turn = excluded.turn, next_offset = excluded.next_offset,
    before_us = excluded.before_us, before_crc = excluded.before_crc
WHERE positions.turn = excluded.turn - 1
RETURNING 1;

-- move_head --
-- Compare-and-set by turn: a row comes back if the stream set was still ours.
INSERT INTO sequencer_heads (stream, turn, next_position, chain_hash)
VALUES ($1::TEXT, $2::INT8, $3::INT8, $4::BYTEA)
ON CONFLICT (stream) DO UPDATE SET turn = excluded.turn, next_position = excluded.next_position,
    chain_hash = excluded.chain_hash
WHERE sequencer_heads.turn = excluded.turn - 1
RETURNING 1;

-- add_audit_block --
-- Store a block of numbered records; none where somebody else's block is: the head was lost.
INSERT INTO audit_blocks (stream, first_position, record_count, payload, chain_hash)
VALUES ($1::TEXT, $2::INT8, $3::INT8, $4::BYTEA, $5::BYTEA)
ON CONFLICT (stream, first_position) DO NOTHING
RETURNING 1;

-- move_archive_head --
-- Compare-and-set by turn: a row comes back if the head was still ours.
INSERT INTO archive_heads
    (stream, turn, next_position, chain_hash, kept_from, next_checkpoint)
VALUES ($1::TEXT, $2::INT8, $3::INT8, $4::BYTEA, $5::INT8, $6::INT8)
ON CONFLICT (stream) DO UPDATE SET turn = excluded.turn, next_position = excluded.next_position,
    chain_hash = excluded.chain_hash, kept_from = excluded.kept_from,
    next_checkpoint = excluded.next_checkpoint
WHERE archive_heads.turn = excluded.turn - 1
RETURNING 1;

-- drop_audit_blocks --
-- Remove a range that is published and archived.
DELETE FROM audit_blocks
WHERE stream = $1::TEXT AND first_position >= $2::INT8 AND first_position < $3::INT8
RETURNING 1;

-- add_checkpoint --
-- Store a signed checkpoint; none where the number is taken: somebody else signs.
INSERT INTO audit_checkpoints (stream, number, position, line)
VALUES ($1::TEXT, $2::INT8, $3::INT8, $4::BYTEA)
ON CONFLICT (stream, number) DO NOTHING
RETURNING 1;

-- add_audit_key --
-- List a public key with the time of its first signature; it stays.
INSERT INTO audit_keys (public_key, first_us) VALUES ($1::BYTEA, $2::INT8)
ON CONFLICT (public_key) DO NOTHING
RETURNING 1;

-- put_bucket_sequences --
-- Store the next sequence of each bucket.
INSERT INTO bucket_sequences (bucket_id, next_sequence)
SELECT n.bucket_id, n.next_sequence
FROM unnest($1::BYTEA[], $2::INT8[]) AS n (bucket_id, next_sequence)
ON CONFLICT (bucket_id) DO UPDATE SET next_sequence = excluded.next_sequence
RETURNING 1;

-- delete_audit_pending --
-- Remove numbered blocks; each must still be there.
DELETE FROM audit_pending WHERE block_id IN (SELECT unnest($1::BYTEA[])) RETURNING 1;

-- add_usage --
-- Add what numbered records changed to each bucket's objects and bytes.
INSERT INTO usage (bucket_id, objects, bytes)
SELECT n.bucket_id, n.objects, n.bytes
FROM unnest($1::BYTEA[], $2::INT8[], $3::INT8[]) AS n (bucket_id, objects, bytes)
ON CONFLICT (bucket_id) DO UPDATE SET objects = usage.objects + excluded.objects,
    bytes = usage.bytes + excluded.bytes
RETURNING 1;

-- find_objects --
-- The buckets, current versions and small objects' replicas for all GETs that wait. LATERAL and
-- LIMIT: a plain join lets PostgreSQL look up by bucket alone, and read the bucket for each key.
SELECT w.n AS n, b.bucket_id AS b_bucket_id, b.name AS b_name, b.owner_id AS b_owner_id,
    b.storage_class AS b_storage_class, b.created_us AS b_created_us, b.config AS b_config,
    b.row_stamp AS b_row_stamp, o.bucket_id, o.key, o.version_id, o.stamp, o.row_stamp, o.size,
    o.etag, o.meta, o.manifest, o.content_id, o.storage_class, o.shared, o.bundle_id,
    (SELECT array_agg(r.node_id) FROM replicas AS r WHERE r.bundle_id = o.bundle_id) AS nodes
FROM unnest($1::INT8[], $2::TEXT[], $3::BYTEA[]) AS w (n, name, key)
JOIN buckets AS b ON b.name = w.name
LEFT JOIN LATERAL (
    SELECT * FROM objects WHERE objects.bucket_id = b.bucket_id AND objects.key = w.key LIMIT 1
) AS o ON true;

-- find_buckets --
-- Buckets by their names.
SELECT b.bucket_id, b.name, b.owner_id, b.storage_class, b.created_us, b.config, b.row_stamp
FROM unnest($1::TEXT[]) AS w (name) JOIN buckets AS b ON b.name = w.name;

-- list_buckets --
-- The buckets of one user, by name; without what their configurations have most of.
SELECT bucket_id, name, owner_id, storage_class, created_us,
    config - 'notification'::TEXT AS config, row_stamp
FROM buckets WHERE owner_id = $1::BYTEA ORDER BY name;

-- buckets_notifying --
-- The buckets of one user whose notification configurations name a destination.
SELECT bucket_id, name, owner_id, storage_class, created_us,
    config - 'notification'::TEXT AS config, row_stamp
FROM buckets WHERE owner_id = $1::BYTEA AND config @> jsonb_build_object('notification',
    jsonb_build_object('parts', jsonb_build_array(jsonb_build_object('destination', $2::TEXT))))
ORDER BY name;

-- list_objects --
-- A page of a bucket in byte order, without manifests: $2 is the first key, $3 above the last.
SELECT key, version_id, stamp, row_stamp, size, etag, meta, content_id, storage_class, shared
FROM objects
WHERE bucket_id = $1::BYTEA AND key >= $2::BYTEA AND key < $3::BYTEA
ORDER BY key LIMIT $4::INT8;

-- list_objects_grouped --
-- The same, one look-up an entry, jumping over what follows in a common prefix ($5: where the
-- delimiter $4 may begin; $6: the delimiter's successor; $7: the largest number of entries).
WITH RECURSIVE page (n, key) AS (
    SELECT 1::INT8, (
        SELECT o.key FROM objects AS o
        WHERE o.bucket_id = $1::BYTEA AND o.key >= $2::BYTEA AND o.key < $3::BYTEA
        ORDER BY o.key LIMIT 1
    )
    UNION ALL
    SELECT p.n + 1, (
        SELECT o.key FROM objects AS o
        WHERE o.bucket_id = $1::BYTEA AND o.key < $3::BYTEA AND o.key >= (
            CASE position($4::BYTEA IN substring(p.key FROM $5::INT4))
            WHEN 0 THEN p.key || '\x00'::BYTEA
            ELSE substring(
                p.key FROM 1
                FOR ($5::INT4 + position($4::BYTEA IN substring(p.key FROM $5::INT4)) - 2)::INT4
            ) || $6::BYTEA
            END
        )
        ORDER BY o.key LIMIT 1
    )
    FROM page AS p WHERE p.key IS NOT NULL AND p.n < $7::INT8
)
SELECT p.key AS found_key, o.key, o.version_id, o.stamp, o.row_stamp, o.size, o.etag, o.meta,
    o.content_id, o.storage_class, o.shared
FROM page AS p
LEFT JOIN objects AS o ON o.bucket_id = $1::BYTEA AND o.key = p.key
    AND position($4::BYTEA IN substring(p.key FROM $5::INT4)) = 0
WHERE p.key IS NOT NULL ORDER BY p.key;

-- find_upload --
-- One multipart upload.
SELECT upload_id, bucket_id, key, meta, storage_class, checksum_algorithm, checksum_type,
    created_us, state, owner_id, row_stamp, outcome
FROM uploads WHERE upload_id = $1::BYTEA;

-- list_parts --
-- A page of a multipart upload's parts, by number.
SELECT upload_id, part_number, size, etag, meta, manifest, content_id, modified_us, row_stamp,
    shared
FROM parts WHERE upload_id = $1::BYTEA AND part_number > $2::INT8
ORDER BY part_number LIMIT $3::INT8;

-- part_manifests --
-- Where the bytes of some parts lie.
SELECT p.part_number, p.manifest
FROM unnest($2::INT8[]) AS w (part_number)
JOIN parts AS p ON p.upload_id = $1::BYTEA AND p.part_number = w.part_number;

-- list_uploads --
-- A page of a bucket's open multipart uploads, by key and id.
SELECT upload_id, bucket_id, key, meta, storage_class, checksum_algorithm, checksum_type,
    created_us, state, owner_id, row_stamp, outcome
FROM uploads
WHERE bucket_id = $1::BYTEA AND state = 'open' AND key >= $2::BYTEA AND key < $3::BYTEA
    AND (key, upload_id) > ($4::BYTEA, $5::BYTEA)
ORDER BY key, upload_id LIMIT $6::INT8;

-- find_key --
-- An access key with its user.
SELECT k.access_key, k.user_id, k.secret, k.active, k.created_us, k.row_stamp,
    u.name, u.password_hash, u.is_root, u.created_us AS user_created_us,
    u.row_stamp AS user_row_stamp
FROM access_keys AS k JOIN users AS u ON u.user_id = k.user_id
WHERE k.access_key = $1::TEXT;

-- find_user --
-- A user by name.
SELECT user_id, name, password_hash, is_root, created_us, row_stamp
FROM users WHERE name = $1::TEXT;

-- list_keys --
-- The access keys of one user.
SELECT access_key, user_id, secret, active, created_us, row_stamp
FROM access_keys WHERE user_id = $1::BYTEA ORDER BY access_key;

-- find_async --
-- How an accepted asynchronous upload stands.
SELECT state FROM async_uploads WHERE upload_id = $1::BYTEA;

-- seal_states --
-- The settlements of these seals and the nodes that committed these bundles.
SELECT s.seal_id, s.outcomes, s.aborted, s.settled_us, NULL::BYTEA AS bundle_id,
    NULL::TEXT AS node_id
FROM unnest($1::BYTEA[]) AS w (seal_id) JOIN settlements AS s ON s.seal_id = w.seal_id
UNION ALL
SELECT NULL, NULL, NULL, NULL, r.bundle_id, r.node_id
FROM unnest($2::BYTEA[]) AS w (bundle_id) JOIN replicas AS r ON r.bundle_id = w.bundle_id;

-- audit_blocks --
-- Numbered blocks from the one that holds a position on.
SELECT stream, first_position, record_count, payload, chain_hash
FROM audit_blocks
WHERE stream = $1::TEXT AND first_position >= coalesce((
    SELECT max(b.first_position) FROM audit_blocks AS b
    WHERE b.stream = $1::TEXT AND b.first_position <= $2::INT8
), 0) AND first_position + record_count > $2::INT8
ORDER BY first_position LIMIT $3::INT8;

-- audit_page --
-- As `audit_blocks`, and no more of them than make up so many bytes; the first one always.
SELECT p.stream, p.first_position, p.record_count, p.payload, p.chain_hash
FROM (
    SELECT a.stream, a.first_position, a.record_count, a.payload, a.chain_hash,
        sum(octet_length(a.payload)) OVER (ORDER BY a.first_position) AS size_until
    FROM (
        SELECT b.stream, b.first_position, b.record_count, b.payload, b.chain_hash
        FROM audit_blocks AS b
        WHERE b.stream = $1::TEXT AND b.first_position >= coalesce((
            SELECT max(c.first_position) FROM audit_blocks AS c
            WHERE c.stream = $1::TEXT AND c.first_position <= $2::INT8
        ), 0) AND b.first_position + b.record_count > $2::INT8
        ORDER BY b.first_position LIMIT $3::INT8
    ) AS a
) AS p
WHERE p.size_until - octet_length(p.payload) < $4::INT8
ORDER BY p.first_position;

-- audit_head --
-- Where a stream set stands.
SELECT stream, turn, next_position, chain_hash FROM sequencer_heads WHERE stream = $1::TEXT;

-- holds_anything --
-- Whether a database has been used: a rebuild wants an empty one.
SELECT EXISTS (SELECT 1 FROM buckets)
    OR EXISTS (SELECT 1 FROM objects)
    OR EXISTS (SELECT 1 FROM versions)
    OR EXISTS (SELECT 1 FROM uploads)
    OR EXISTS (SELECT 1 FROM parts)
    OR EXISTS (SELECT 1 FROM holders)
    OR EXISTS (SELECT 1 FROM users)
    OR EXISTS (SELECT 1 FROM access_keys)
    OR EXISTS (SELECT 1 FROM nodes)
    OR EXISTS (SELECT 1 FROM async_uploads)
    OR EXISTS (SELECT 1 FROM history_holds)
    OR EXISTS (SELECT 1 FROM audit_pending)
    OR EXISTS (SELECT 1 FROM audit_blocks) AS holds;

-- archive_head --
-- How far a stream set is archived.
SELECT stream, turn, next_position, chain_hash, kept_from, next_checkpoint
FROM archive_heads WHERE stream = $1::TEXT;

-- checkpoints --
-- Signed checkpoints from a number on.
SELECT stream, number, position, line FROM audit_checkpoints
WHERE stream = $1::TEXT AND number >= $2::INT8 ORDER BY number LIMIT $3::INT8;

-- last_checkpoint --
-- The newest signed checkpoint.
SELECT stream, number, position, line FROM audit_checkpoints
WHERE stream = $1::TEXT ORDER BY number DESC LIMIT 1;

-- audit_keys --
-- Every public key that signed a checkpoint, the oldest first.
SELECT public_key, first_us FROM audit_keys ORDER BY first_us, public_key;

-- pending_audit --
-- The pending blocks of one snapshot, in the order in which they are numbered.
SELECT block_id, stamp, payload FROM audit_pending ORDER BY stamp, block_id LIMIT $1::INT8;

-- bucket_sequences --
-- The next sequence of each of these buckets.
SELECT b.bucket_id, b.next_sequence
FROM unnest($1::BYTEA[]) AS w (bucket_id)
JOIN bucket_sequences AS b ON b.bucket_id = w.bucket_id;

-- lane_positions --
-- How far these lanes have been applied.
SELECT p.topic, p.lane, p.turn, p.next_offset, p.before_us, p.before_crc
FROM unnest($1::TEXT[], $2::INT8[]) AS w (topic, lane)
JOIN positions AS p ON p.topic = w.topic AND p.lane = w.lane;

-- node_intents --
-- What operators want of every node they named.
SELECT node_id, intent, weight FROM nodes;

-- holds --
-- Every hold, the one that keeps most first.
SELECT hold_id, kind, reason, from_position, from_us, until_us, created_us, row_stamp
FROM history_holds ORDER BY from_position, hold_id;

-- usage_of --
-- How much each of these buckets holds, about a second ago.
SELECT u.bucket_id, u.objects, u.bytes
FROM unnest($1::BYTEA[]) AS w (bucket_id) JOIN usage AS u ON u.bucket_id = w.bucket_id;

-- forget_settlements --
-- Remove settlements of one slice of ids that are older than a time.
DELETE FROM settlements
WHERE seal_id >= $1::BYTEA AND seal_id < $2::BYTEA AND settled_us < $3::INT8
RETURNING 1;

-- forget_floors --
-- Remove floors of one slice of keys that are older than a stamp.
DELETE FROM floors
WHERE table_name IN ('access_keys', 'buckets', 'objects', 'users')
    AND key >= $1::BYTEA AND key < $2::BYTEA AND stamp < $3::INT8
RETURNING 1;

-- page_pending --
-- How many transactions wait for their numbers: rows that no numbered record tells of yet.
SELECT count(*) AS waiting FROM audit_pending;

-- page_buckets --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT bucket_id, name, owner_id, storage_class, created_us, config, row_stamp
FROM buckets WHERE bucket_id > $1::BYTEA
ORDER BY bucket_id LIMIT $2::INT8;

-- page_objects --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT bucket_id, key, version_id, stamp, row_stamp, size, etag, meta, manifest, content_id,
    storage_class, shared
FROM objects WHERE (bucket_id, key) > ($1::BYTEA, $2::BYTEA)
ORDER BY bucket_id, key LIMIT $3::INT8;

-- page_uploads --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT upload_id, bucket_id, key, meta, storage_class, checksum_algorithm, checksum_type,
    created_us, state, owner_id, row_stamp, outcome
FROM uploads WHERE upload_id > $1::BYTEA
ORDER BY upload_id LIMIT $2::INT8;

-- page_parts --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT upload_id, part_number, size, etag, meta, manifest, content_id, modified_us, row_stamp,
    shared
FROM parts WHERE (upload_id, part_number) > ($1::BYTEA, $2::INT8)
ORDER BY upload_id, part_number LIMIT $3::INT8;

-- page_holders --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT content_id, holder, row_stamp, manifest
FROM holders WHERE (content_id, holder) > ($1::BYTEA, $2::BYTEA)
ORDER BY content_id, holder LIMIT $3::INT8;

-- page_users --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT user_id, name, password_hash, is_root, created_us, row_stamp
FROM users WHERE user_id > $1::BYTEA
ORDER BY user_id LIMIT $2::INT8;

-- page_access_keys --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT access_key, user_id, secret, active, created_us, row_stamp
FROM access_keys WHERE convert_to(access_key, 'UTF8') > $1::BYTEA
ORDER BY convert_to(access_key, 'UTF8') LIMIT $2::INT8;

-- page_nodes --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT node_id, intent, weight, row_stamp
FROM nodes WHERE convert_to(node_id, 'UTF8') > $1::BYTEA
ORDER BY convert_to(node_id, 'UTF8') LIMIT $2::INT8;

-- page_async_uploads --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT upload_id, bucket_id, key, state, created_us, row_stamp
FROM async_uploads WHERE upload_id > $1::BYTEA
ORDER BY upload_id LIMIT $2::INT8;

-- page_history_holds --
-- Whole rows in the order of their keys' bytes, behind one: for digests and comparisons.
SELECT hold_id, kind, reason, from_position, from_us, until_us, created_us, row_stamp
FROM history_holds WHERE hold_id > $1::BYTEA
ORDER BY hold_id LIMIT $2::INT8;

-- page_pending_blocks --
-- The transactions that wait for their numbers: for snapshots.
SELECT block_id, payload FROM audit_pending;

-- page_floors --
-- Floors in the order of their keys, behind one: for snapshots.
SELECT table_name, key, stamp
FROM floors WHERE (table_name, key) > ($1::TEXT, $2::BYTEA)
ORDER BY table_name, key LIMIT $3::INT8;

-- page_usage --
-- What buckets held behind the last number, behind one: for snapshots.
SELECT bucket_id, objects, bytes
FROM usage WHERE bucket_id > $1::BYTEA
ORDER BY bucket_id LIMIT $2::INT8;

-- page_sequences --
-- The streams' next sequences, behind one: for snapshots.
SELECT bucket_id, next_sequence
FROM bucket_sequences WHERE bucket_id > $1::BYTEA
ORDER BY bucket_id LIMIT $2::INT8;

-- page_bundles --
-- Bundles, behind one: for snapshots.
SELECT bundle_id, size_class, state, wanted, size, crc, at_us
FROM bundles WHERE bundle_id > $1::BYTEA
ORDER BY bundle_id LIMIT $2::INT8;

-- page_replicas --
-- Which nodes confirmed which bundles, behind one: for snapshots.
SELECT bundle_id, node_id, epoch, size, crc
FROM replicas WHERE (bundle_id, node_id) > ($1::BYTEA, $2::TEXT)
ORDER BY bundle_id, node_id LIMIT $3::INT8;

-- schema_versions --
-- Which migrations this database has.
SELECT version, name FROM schema_migrations ORDER BY version;

-- add_schema_version --
-- Note a migration as applied.
INSERT INTO schema_migrations (version, name, applied_us)
VALUES ($1::INT8, $2::TEXT, (extract(epoch FROM clock_timestamp()) * 1000000)::INT8)
ON CONFLICT (version) DO NOTHING
RETURNING 1;

-- take_lease --
-- Take a lease that nobody holds or that ran out, or hold ours longer; its token grows.
INSERT INTO leases (name, owner, token, until_us)
VALUES ($1::TEXT, $2::BYTEA, 1,
    (extract(epoch FROM clock_timestamp()) * 1000000)::INT8 + $3::INT8)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, token = leases.token + 1,
    until_us = excluded.until_us
WHERE leases.owner = excluded.owner OR leases.until_us < excluded.until_us - $3::INT8
RETURNING token;

-- give_lease_back --
-- Let a lease of ours run out now.
UPDATE leases SET until_us = 0 WHERE name = $1::TEXT AND owner = $2::BYTEA RETURNING 1;
