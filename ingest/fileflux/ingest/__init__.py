"""The S3 gateway: HTTP in, chunks and events out."""
