#!/usr/bin/env bash
# Make the environments of the foreign code that `make test-contract` asks; each once per lock file.
#
#   scripts/init_contract.sh
#
# They lie apart in .cache: nautilus_trader needs an older pandas than the screen, and
# quantconnect-mcp Python 3.12 (the last with wheels of the numpy it wants), without which it is
# left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# make LOCK PLACE PYTHON
make() {
  local lock=$1 place=$2 python=$3 made wanted
  made=$(cat "$place/.informania" 2>/dev/null || true)
  wanted=$(cat "$lock" <(pwd) <("$python" --version) | sha256sum)
  [[ "$made" == "$wanted" ]] && return
  echo "Foreign code: downloads and installs what $lock pins ..."
  .venv/bin/uv venv --quiet --clear --python "$python" "$place"
  .venv/bin/uv pip sync --quiet --python "$place/bin/python" --require-hashes "$lock"
  echo "$wanted" >"$place/.informania"
}

# Also where pyenv keeps its versions: its shims answer for versions that are not switched on.
python_3_12() {
  local it
  for it in python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python; do
    if "$it" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
      command -v "$it"
      return
    fi
  done
}

make tests/contract/requirements.txt .cache/contract .venv/bin/python
if python=$(python_3_12) && [[ -n "$python" ]]; then
  make tests/contract/requirements-mcp.txt .cache/contract-mcp "$python"
else
  rm -rf .cache/contract-mcp
fi
