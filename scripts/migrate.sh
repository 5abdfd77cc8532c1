#!/usr/bin/env bash
# Bring the database of the running platform to the newest revision.
#
#   scripts/migrate.sh
#
# `make up` does the same at every start; this is for a database that is already up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec scripts/run_all.sh run migrate
