-- How far events have been applied, what came of them, and the records that tell the world.

-- One row per flush, kept 7 days: the answer to every re-emission.
CREATE TABLE IF NOT EXISTS settlements (
    seal_id BYTEA NOT NULL,
    outcomes BYTEA NOT NULL,
    aborted BOOL NOT NULL,
    settled_us INT8 NOT NULL,
    CONSTRAINT settlements_pkey PRIMARY KEY (seal_id)
);

-- `turn` moves by compare-and-set; `before_us`, `before_crc`: of the record before `next_offset`.
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL,
    lane INT8 NOT NULL,
    turn INT8 NOT NULL,
    next_offset INT8,
    before_us INT8 NOT NULL,
    before_crc INT8 NOT NULL,
    CONSTRAINT positions_pkey PRIMARY KEY (topic, lane)
);

-- One row per transaction that changed audited rows, until the sequencer has numbered it. The id
-- is random: writers touch no shared counter and no shared end of an index.
CREATE TABLE IF NOT EXISTS audit_pending (
    block_id BYTEA NOT NULL,
    stamp INT8 NOT NULL,
    payload BYTEA NOT NULL,
    CONSTRAINT audit_pending_pkey PRIMARY KEY (block_id)
);

-- The numbered records, in order. Only the sequencer writes here, a block at a time.
CREATE TABLE IF NOT EXISTS audit_blocks (
    stream TEXT NOT NULL,
    first_position INT8 NOT NULL,
    record_count INT8 NOT NULL,
    payload BYTEA NOT NULL,
    chain_hash BYTEA NOT NULL,
    CONSTRAINT audit_blocks_pkey PRIMARY KEY (stream, first_position)
);

CREATE TABLE IF NOT EXISTS sequencer_heads (
    stream TEXT NOT NULL,
    turn INT8 NOT NULL,
    next_position INT8 NOT NULL,
    chain_hash BYTEA NOT NULL,
    CONSTRAINT sequencer_heads_pkey PRIMARY KEY (stream)
);

CREATE TABLE IF NOT EXISTS bucket_sequences (
    bucket_id BYTEA NOT NULL,
    next_sequence INT8 NOT NULL,
    CONSTRAINT bucket_sequences_pkey PRIMARY KEY (bucket_id)
);
