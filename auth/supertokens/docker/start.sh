#!/usr/bin/env bash
# Start SuperTokens Core as the main process of its container.
#
# Its settings are /etc/supertokens/config.yaml and two secrets, files in SECRETS_DIR; together they
# are written to TMPDIR, which is memory, because the core reads one file only.
set -euo pipefail
umask 077

secrets=${SECRETS_DIR:-/run/secrets}
work=${TMPDIR:-/tmp}/supertokens
config=$work/config.yaml

secret() {
  [[ -s $secrets/$1 ]] || {
    printf 'start-supertokens: the secret %s is missing in %s\n' "$1" "$secrets" >&2
    exit 78
  }
  cat "$secrets/$1"
}

mkdir -p "$work/temp"
api_key=$(secret core_api_key)
password=$(secret core_password)
{
  cat /etc/supertokens/config.yaml
  printf 'api_keys: "%s"\npostgresql_password: "%s"\n' "$api_key" "$password"
} >"$config"

# The root of the container is read-only: the core and its libraries unpack into memory.
export _JAVA_OPTIONS=-Djava.io.tmpdir=$work/temp
exec supertokens start --with-config="$config" --with-temp-dir="$work/temp/" --foreground
