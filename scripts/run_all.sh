#!/usr/bin/env bash
# Run the platform: in containers, or on this machine without any.
#
#   scripts/run_all.sh             set up what is missing, start all, return when all is healthy
#   scripts/run_all.sh VERB ...    down, status, logs, clean or run, with the options of that verb
#
# MODE=docker or MODE=native says where; MODE=auto, the default, takes Docker only when its engine,
# Compose and every image are there or can be fetched. The choice is kept in .run/mode until
# `make clean`. Other settings come from the environment, then from .env: PORT_BASE, HTTP_PORT,
# PUBLIC_URL, PROFILES, PYTHON, PG_BIN, RUN_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'run_all: %s\n' "$1" >&2
  exit 1
}

verb=${1:-up}
[[ $# -gt 0 ]] && shift
[[ "$(uname -s)" == Linux ]] || die "the platform needs Linux"

# The runners need no package, so they can also stop and clean a broken environment.
choose_python() {
  python=.venv/bin/python
  [[ -x $python ]] || python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    die "$python is missing or older than 3.11: install Python 3.11 or newer, or name one with PYTHON=..."
}
if [[ ! -w ${HOME:-/nonexistent} ]]; then
  export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$PWD/.cache}
fi
export PYTHONPATH=ops

choose_python
mode=$("$python" -m native.mode "$verb")
[[ $mode == native ]] || exec "$python" -m native.containers "$verb" "$@"
if [[ "$verb" == up ]]; then
  PYTHONPATH='' setpriv --pdeathsig TERM -- scripts/init_dev.sh
  choose_python
fi
exec "$python" -m native "$verb" "$@"
