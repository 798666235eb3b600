-- What exists: current versions, older ones, multipart uploads, shared content. All audited.
-- Keys are bytes: their order is the listing's order, and they may hold NUL.
-- `bundle_id` is derived from the manifest: the bundle of an object of one chunk, so that a GET of
-- a small object finds its replicas in the same statement.

CREATE TABLE IF NOT EXISTS objects (
    bucket_id BYTEA NOT NULL,
    key BYTEA NOT NULL,
    version_id BYTEA NOT NULL,
    stamp INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    size INT8 NOT NULL,
    etag TEXT NOT NULL,
    meta JSONB NOT NULL,
    manifest BYTEA NOT NULL,
    content_id BYTEA NOT NULL,
    storage_class TEXT NOT NULL,
    shared BOOL NOT NULL,
    bundle_id BYTEA,
    CONSTRAINT objects_pkey PRIMARY KEY (bucket_id, key)
);

CREATE TABLE IF NOT EXISTS versions (
    bucket_id BYTEA NOT NULL,
    key BYTEA NOT NULL,
    version_id BYTEA NOT NULL,
    stamp INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    size INT8 NOT NULL,
    etag TEXT NOT NULL,
    meta JSONB NOT NULL,
    manifest BYTEA NOT NULL,
    content_id BYTEA NOT NULL,
    storage_class TEXT NOT NULL,
    shared BOOL NOT NULL,
    bundle_id BYTEA,
    is_delete_marker BOOL NOT NULL,
    CONSTRAINT versions_pkey PRIMARY KEY (bucket_id, key, version_id)
);

CREATE TABLE IF NOT EXISTS uploads (
    upload_id BYTEA NOT NULL,
    bucket_id BYTEA NOT NULL,
    key BYTEA NOT NULL,
    meta JSONB NOT NULL,
    storage_class TEXT NOT NULL,
    checksum_algorithm TEXT NOT NULL,
    checksum_type TEXT NOT NULL,
    created_us INT8 NOT NULL,
    state TEXT NOT NULL,
    owner_id BYTEA NOT NULL,
    row_stamp INT8 NOT NULL,
    outcome BYTEA,
    CONSTRAINT uploads_pkey PRIMARY KEY (upload_id)
);

-- Listings show open uploads only; completed ones stay for as long as their object.
CREATE INDEX IF NOT EXISTS uploads_open_by_key ON uploads (bucket_id, key, upload_id)
    WHERE state = 'open';

-- DeleteBucket reads the largest row_stamp of a bucket's uploads.
CREATE INDEX IF NOT EXISTS uploads_by_bucket ON uploads (bucket_id, row_stamp);

CREATE TABLE IF NOT EXISTS parts (
    upload_id BYTEA NOT NULL,
    part_number INT8 NOT NULL,
    size INT8 NOT NULL,
    etag TEXT NOT NULL,
    meta JSONB NOT NULL,
    manifest BYTEA NOT NULL,
    content_id BYTEA NOT NULL,
    modified_us INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    shared BOOL NOT NULL,
    CONSTRAINT parts_pkey PRIMARY KEY (upload_id, part_number)
);

-- An empty holder is nobody's: its row keeps the content's whole manifest.
CREATE TABLE IF NOT EXISTS holders (
    content_id BYTEA NOT NULL,
    holder BYTEA NOT NULL,
    row_stamp INT8 NOT NULL,
    manifest BYTEA,
    CONSTRAINT holders_pkey PRIMARY KEY (content_id, holder)
);

CREATE TABLE IF NOT EXISTS async_uploads (
    upload_id BYTEA NOT NULL,
    bucket_id BYTEA NOT NULL,
    key BYTEA NOT NULL,
    state TEXT NOT NULL,
    created_us INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT async_uploads_pkey PRIMARY KEY (upload_id)
);

-- What a removed row leaves for 7 days, so that its successor's stamp is larger.
CREATE TABLE IF NOT EXISTS floors (
    table_name TEXT NOT NULL,
    key BYTEA NOT NULL,
    stamp INT8 NOT NULL,
    CONSTRAINT floors_pkey PRIMARY KEY (table_name, key)
);

-- A version that may not be removed before a time, and why (object lock).
CREATE TABLE IF NOT EXISTS holds (
    bucket_id BYTEA NOT NULL,
    key BYTEA NOT NULL,
    version_id BYTEA NOT NULL,
    kind TEXT NOT NULL,
    until_us INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT holds_pkey PRIMARY KEY (bucket_id, key, version_id, kind)
);
