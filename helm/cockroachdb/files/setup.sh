#!/bin/bash
# Make the cluster (once), FileFlux's database and user, the licence and the schedule of backups. Safe to run
# again. Read from the environment: HOST, SINGLE_NODE, CLUSTER_NAME, DATABASE_USER. Secrets are read from files
# and go to the server on standard input, so no list of processes shows them.
set -euo pipefail

cockroach=${COCKROACH:-/cockroach/cockroach} # Where things are; tests have them elsewhere.
secrets=${SECRETS:-/secrets}
setup=${SETUP:-/setup}
certs=(--certs-dir=/cockroach/certs "--host=$HOST")
sql=("$cockroach" sql "${certs[@]}" --set=errexit=true)

quoted() { # A file's text as an SQL string.
  local text quote="'"
  text=$(<"$1")
  printf "'%s'" "${text//$quote/$quote$quote}"
}

initialize() { # Answers "already initialized" when it is.
  local answer
  until answer=$("$cockroach" init "${certs[@]}" "--cluster-name=$CLUSTER_NAME" 2>&1); do
    if [[ $answer == *"already been initialized"* ]]; then return; fi
    echo "the nodes cannot be initialized yet: $answer" >&2
    sleep "${AGAIN_S:-3}"
  done
}

if [[ $SINGLE_NODE != true ]]; then initialize; fi
until "${sql[@]}" -e 'SELECT 1' >/dev/null 2>&1; do
  echo "the database does not answer yet" >&2
  sleep "${AGAIN_S:-3}"
done

"${sql[@]}" <"$setup/setup.sql"
printf 'ALTER USER %s WITH PASSWORD %s;\n' "$DATABASE_USER" "$(quoted "$secrets/database/password")" | "${sql[@]}" >/dev/null
if [[ -e $secrets/license/license ]]; then
  {
    printf 'SET CLUSTER SETTING cluster.organization = %s;\n' "$(quoted "$secrets/license/organization")"
    printf 'SET CLUSTER SETTING enterprise.license = %s;\n' "$(quoted "$secrets/license/license")"
  } | "${sql[@]}" >/dev/null
fi
if [[ -s "$setup/backup.sql" ]]; then "${sql[@]}" <"$setup/backup.sql"; fi
echo "the database is ready for FileFlux"
