"""Chunks on ZFS: extent files, scrub, heartbeat, pull from peers."""
