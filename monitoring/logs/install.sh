#!/bin/bash
# Gives Elasticsearch the lifecycle policy and the index template, and Kibana the saved views. Run again,
# it replaces them. Before the first line is sent: an index keeps the mapping that it was made with.
#
#   ELASTICSEARCH_URL=https://…:9200 KIBANA_URL=https://…:5601 API_KEY_FILE=… CA_FILE=… ./install.sh
set -euo pipefail

: "${ELASTICSEARCH_URL:?is where Elasticsearch answers, like https://host:9200}"
: "${KIBANA_URL:?is where Kibana answers, like https://host:5601}"
: "${API_KEY_FILE:?is a file with the API key, ID:KEY in base64: arguments can be read by everybody on a machine}"
HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE

# The key goes in by standard input.
call() {
    printf 'header = "Authorization: ApiKey %s"\n' "$(cat "$API_KEY_FILE")" |
        curl --silent --show-error --fail-with-body --config - ${CA_FILE:+--cacert "$CA_FILE"} "$@"
    echo
}
put() { call --request PUT --header 'Content-Type: application/json' --data-binary "@$HERE/$2" "$ELASTICSEARCH_URL/$1"; }

put _ilm/policy/fileflux-logs lifecycle.json
put _index_template/fileflux-logs index-template.json
answer=$(call --request POST --header 'kbn-xsrf: true' --form "file=@$HERE/kibana.ndjson" \
    "$KIBANA_URL/api/saved_objects/_import?overwrite=true")
echo "$answer"
# Kibana answers 200 when it took none, too.
if ! grep -q '"success":true' <<<"$answer"; then
    echo "install.sh: Kibana did not take every view; its answer above says which" >&2
    exit 1
fi
