-- What the runner of migrations itself needs; run before every other file, each time.

CREATE TABLE IF NOT EXISTS leases (
    name TEXT NOT NULL,
    owner BYTEA NOT NULL,
    token INT8 NOT NULL,
    until_us INT8 NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS schema_migrations (
    version INT8 NOT NULL,
    name TEXT NOT NULL,
    applied_us INT8 NOT NULL,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
);
