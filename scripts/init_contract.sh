#!/usr/bin/env bash
# Make the environment of the foreign libraries that `make test-contract` asks; once per lock file.
#
#   scripts/init_contract.sh
#
# It lies apart in .cache/contract: nautilus_trader needs an older pandas than the screen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock=tests/contract/requirements.txt place=.cache/contract
made=$(cat "$place/.informania" 2>/dev/null || true)
wanted=$(cat "$lock" <(pwd) <(.venv/bin/python --version) | sha256sum)
[[ "$made" == "$wanted" ]] && exit 0

echo "Foreign libraries: downloads and installs what $lock pins ..."
.venv/bin/uv venv --quiet --clear --python .venv/bin/python "$place"
.venv/bin/uv pip sync --quiet --python "$place/bin/python" --require-hashes "$lock"
echo "$wanted" >"$place/.informania"
