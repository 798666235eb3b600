-- DeleteBucket's stamp is larger than what any object of the bucket left. Without this index it reads
-- every floor of the bucket, as many as were deleted in 7 days; with it, the last entry.
CREATE INDEX IF NOT EXISTS floors_by_bucket ON floors (substring(key, 1, 16), stamp)
    WHERE table_name = 'objects';
