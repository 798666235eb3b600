-- Who may come, and the containers that they own. All audited.

CREATE TABLE IF NOT EXISTS users (
    user_id BYTEA NOT NULL,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    is_root BOOL NOT NULL,
    created_us INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (user_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS users_by_name ON users (name);

CREATE TABLE IF NOT EXISTS access_keys (
    access_key TEXT NOT NULL,
    user_id BYTEA NOT NULL,
    secret BYTEA NOT NULL,
    active BOOL NOT NULL,
    created_us INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT access_keys_pkey PRIMARY KEY (access_key)
);

CREATE INDEX IF NOT EXISTS access_keys_by_user ON access_keys (user_id);

CREATE TABLE IF NOT EXISTS buckets (
    bucket_id BYTEA NOT NULL,
    name TEXT NOT NULL,
    owner_id BYTEA NOT NULL,
    storage_class TEXT NOT NULL,
    created_us INT8 NOT NULL,
    config JSONB NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT buckets_pkey PRIMARY KEY (bucket_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS buckets_by_name ON buckets (name);

CREATE INDEX IF NOT EXISTS buckets_by_owner ON buckets (owner_id, name);

CREATE TABLE IF NOT EXISTS nodes (
    node_id TEXT NOT NULL,
    intent TEXT NOT NULL,
    weight FLOAT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT nodes_pkey PRIMARY KEY (node_id)
);
