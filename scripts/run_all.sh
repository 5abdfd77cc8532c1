#!/usr/bin/env bash
# Run the platform on this machine, without containers.
#
#   scripts/run_all.sh             set up what is missing, start all, return when all is healthy
#   scripts/run_all.sh VERB ...    down, status, logs or clean, with the options of that verb
#
# Settings come from the environment, then from .env: PORT_BASE, PUBLIC_URL, PYTHON, PG_BIN, RUN_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'run_all: %s\n' "$1" >&2
  exit 1
}

verb=${1:-up}
[[ $# -gt 0 ]] && shift
[[ "${MODE:-native}" =~ ^(native|auto)$ ]] || die "MODE=$MODE is unknown: use MODE=native"
[[ "$(uname -s)" == Linux ]] || die "running without containers needs Linux"

if [[ "$verb" == up ]]; then
  setpriv --pdeathsig TERM -- scripts/init_dev.sh
fi
# The runner itself needs no package, so it can also stop and clean a broken environment.
python=.venv/bin/python
[[ -x $python ]] || python=${PYTHON:-python3}
if [[ ! -w ${HOME:-/nonexistent} ]]; then
  export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$PWD/.cache}
fi
PYTHONPATH=ops exec "$python" -m native "$verb" "$@"
