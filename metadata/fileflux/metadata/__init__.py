"""What exists: the truth. Events become rows here, rows become audit."""
