-- Where content lies: inventoried (replicas) and derived (bundles, garbage, usage) rows.
-- Bundle ids are random, so no table here grows at one end only.

-- `state`: live or dead; a bundle without a row is staged. `wanted`: replicas (R).
CREATE TABLE IF NOT EXISTS bundles (
    bundle_id BYTEA NOT NULL,
    size_class INT8 NOT NULL,
    state TEXT NOT NULL,
    wanted INT8 NOT NULL,
    size INT8 NOT NULL,
    crc INT8 NOT NULL,
    at_us INT8 NOT NULL,
    CONSTRAINT bundles_pkey PRIMARY KEY (bundle_id)
);

CREATE TABLE IF NOT EXISTS replicas (
    bundle_id BYTEA NOT NULL,
    node_id TEXT NOT NULL,
    epoch INT8 NOT NULL,
    size INT8 NOT NULL,
    crc INT8 NOT NULL,
    CONSTRAINT replicas_pkey PRIMARY KEY (bundle_id, node_id)
);

-- Repair and reconciliation walk one node's bundles.
CREATE INDEX IF NOT EXISTS replicas_by_node ON replicas (node_id, bundle_id);

-- `chunk_numbers`: 4 bytes each, big endian. `claimed_until_us`: the compactor's lease, 0 if none.
CREATE TABLE IF NOT EXISTS garbage (
    bundle_id BYTEA NOT NULL,
    dropped_by BYTEA NOT NULL,
    chunk_numbers BYTEA NOT NULL,
    size INT8 NOT NULL,
    at_us INT8 NOT NULL,
    claimed_until_us INT8 NOT NULL,
    CONSTRAINT garbage_pkey PRIMARY KEY (bundle_id, dropped_by)
);

-- The sequencer's projection: about a second old.
CREATE TABLE IF NOT EXISTS usage (
    bucket_id BYTEA NOT NULL,
    objects INT8 NOT NULL,
    bytes INT8 NOT NULL,
    CONSTRAINT usage_pkey PRIMARY KEY (bucket_id)
);
