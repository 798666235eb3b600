#!/bin/bash
# One authority and one certificate for the three nodes, made once; root's for the job that comes
# next. The authority's key stays in a volume that nothing else mounts; services get its certificate.
set -euo pipefail

make() {
    cockroach cert "$@" --certs-dir=/certificates --ca-key=/authority/ca.key
}

if [[ ! -f /certificates/ca.crt ]]; then
    make create-ca --allow-ca-key-reuse
fi
if [[ ! -f /certificates/node.crt ]]; then
    make create-node db-1 db-2 db-3 localhost 127.0.0.1
fi
if [[ ! -f /certificates/client.root.crt ]]; then
    make create-client root
fi
install --mode=0444 /certificates/ca.crt /ca/ca.crt
