#!/bin/sh
# Resolve requirements/*.in again. Hashes only: a lock that named a registry would tie everybody to
# it. One lock serves every supported Python (--universal).
set -eu
cd "$(dirname "$0")/../requirements"
for name in build runtime tracing dev demo clients go deploy; do
    uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links "$name.in" -o "$name.lock"
done
