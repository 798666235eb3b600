"""What may go: garbage, lifecycle, cold tier."""
