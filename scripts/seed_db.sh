#!/usr/bin/env bash
# Put the demo's users, accounts, instruments and prices into the running platform, once.
#
#   scripts/seed_db.sh
#
# `make up` does the same at every start; what is there stays as it is. DEMO_CONFIG names another demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec scripts/run_all.sh run seed
