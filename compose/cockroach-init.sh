#!/bin/bash
# Makes the cluster, a database and a user who owns that database and nothing else. Safe to run again.
set -euo pipefail

readonly HOST=db-1:26257
password=$(</run/secrets/database-password)
if [[ ! "$password" =~ ^[0-9a-f]{32,}$ ]]; then
    echo "cockroach-init: database-password is not hexadecimal; make it with tools/make_secrets.py" >&2
    exit 2
fi

if ! answer=$(cockroach init --certs-dir=/certificates --host="$HOST" 2>&1); then
    # The only refusal that is none.
    if [[ "$answer" != *"already been initialized"* ]]; then
        echo "cockroach-init: $answer" >&2
        exit 1
    fi
fi

# By standard input: a command line is seen by whoever lists processes.
cockroach sql --certs-dir=/certificates --host="$HOST" <<SQL
CREATE DATABASE IF NOT EXISTS fileflux;
CREATE USER IF NOT EXISTS fileflux;
ALTER USER fileflux WITH PASSWORD '$password';
ALTER DATABASE fileflux OWNER TO fileflux;
REVOKE ALL ON DATABASE defaultdb FROM public;
REVOKE ALL ON DATABASE postgres FROM public;
SQL
