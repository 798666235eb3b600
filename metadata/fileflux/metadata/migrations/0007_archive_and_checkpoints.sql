-- How far the audit stream is archived, and from where on the database still has it.
CREATE TABLE IF NOT EXISTS archive_heads (
    stream TEXT NOT NULL,
    turn INT8 NOT NULL,
    next_position INT8 NOT NULL,
    chain_hash BYTEA NOT NULL,
    kept_from INT8 NOT NULL,
    next_checkpoint INT8 NOT NULL,
    CONSTRAINT archive_heads_pkey PRIMARY KEY (stream)
);

-- Signed checkpoints, numbered from 1 without gaps: whoever inserts a number first has it. They stay
-- when the records that they vouch for have left: some hundred bytes a minute at most.
CREATE TABLE IF NOT EXISTS audit_checkpoints (
    stream TEXT NOT NULL,
    number INT8 NOT NULL,
    position INT8 NOT NULL,
    line BYTEA NOT NULL,
    CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (stream, number)
);

-- Every public key that ever signed a checkpoint.
CREATE TABLE IF NOT EXISTS audit_keys (
    public_key BYTEA NOT NULL,
    first_us INT8 NOT NULL,
    CONSTRAINT audit_keys_pkey PRIMARY KEY (public_key)
);
