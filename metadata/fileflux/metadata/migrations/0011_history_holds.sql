-- What history has to stay, and until when: audit records from a position on, and the bytes that
-- were dropped since. `holds` (0002) is another thing: versions that nobody may remove.
CREATE TABLE IF NOT EXISTS history_holds (
    hold_id BYTEA NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    from_position INT8 NOT NULL,
    from_us INT8 NOT NULL,
    until_us INT8 NOT NULL,
    created_us INT8 NOT NULL,
    row_stamp INT8 NOT NULL,
    CONSTRAINT history_holds_pkey PRIMARY KEY (hold_id)
);
