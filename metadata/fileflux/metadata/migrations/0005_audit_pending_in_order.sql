-- The sequencer takes the oldest pending blocks first. Without this index every poll reads and sorts
-- all of them, and after a long outage that would take longer than a statement may: numbering would
-- never start again. Writers meet at the index's end; nobody reads it inside a transaction.
CREATE INDEX IF NOT EXISTS audit_pending_in_order ON audit_pending (stamp, block_id);
