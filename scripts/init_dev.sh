#!/usr/bin/env bash
# Make the Python environment .venv from the hashed lock files; nothing to do, nothing done.
#
#   scripts/init_dev.sh          what the services need
#   scripts/init_dev.sh --dev    also what `make test` and `make check` need
#
# PYTHON names the interpreter (3.11 or newer) when python3 is not the right one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'init_dev: %s\n' "$1" >&2 && exit 1; }
# Whatever ends this script also ends what it runs, and what that started.
run() {
  setpriv --pdeathsig KILL -- setsid "$@" &
  child=$!
  wait "$child"
  child=
}
trap '[[ -z "${child:-}" ]] || kill -KILL -- "-$child" 2>/dev/null' EXIT
trap 'exit 130' INT TERM HUP

[[ -w . ]] || die "cannot write in $PWD: run as its owner, $(stat --format=%U .)"
mkdir --parents .cache "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}" 2>/dev/null ||
  export XDG_CACHE_HOME="$PWD/.cache"
exec 9>.cache/setup.lock
flock --nonblock 9 || { echo "init_dev: waits for another setup in this folder" && flock 9; }

packages=(backend backend/worker backend/paper auth/supertokens/devcore)
stamp=.venv/.informania wanted=runtime locks=(backend/requirements.txt ui/streamlit/requirements.txt)
hash=$(cat scripts/init_dev.sh backend/requirements*.txt ui/streamlit/requirements.txt "${packages[@]/%//pyproject.toml}" <(pwd) | sha256sum)
made=$(cat "$stamp" 2>/dev/null || true)
# What was once made for tests is not taken away by `make up`.
if [[ "${1:-}" == --dev || "$made" == dev* ]]; then
  wanted=dev && locks+=(backend/requirements-dev.txt)
fi
[[ "$made" == "$wanted $hash" && -x .venv/bin/python ]] && exit 0

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  die "$python is missing or older than 3.11: install Python 3.11 or newer, or name one with PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  die "$python cannot make environments: apt-get install python3-venv"

echo "Python environment: downloads and installs what backend/requirements.txt pins ..."
rm --force "$stamp"
# An environment that was moved, or whose interpreter is gone, is made anew.
if ! { grep --quiet --fixed-strings "$PWD/.venv" .venv/pyvenv.cfg &&
  .venv/bin/python -c '' && .venv/bin/uv --version; } >/dev/null 2>&1; then
  run "$python" -m venv --clear .venv
  # uv comes from the same lock as all the rest, by its hashes.
  run .venv/bin/python -m pip install --quiet --quiet --require-hashes \
    --requirement <(awk '/^[^ #]/{uv = /^uv==/} uv' backend/requirements.txt)
fi
run .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes "${locks[@]}"
run .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation \
  "${packages[@]/#/--editable=}"
echo "$wanted $hash" >"$stamp"
