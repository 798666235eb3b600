"""Words and tools that every part of FileFlux shares. It knows nobody above it."""
