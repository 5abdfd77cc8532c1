#!/usr/bin/env bash
# Check the style, the types and the contracts of the whole tree.
#
#   scripts/check.sh
#
# Every check runs, also after one has failed; the exit code is 1 when any did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH"
failed=()

check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    printf 'ok      %s\n' "$name"
  else
    failed+=("$name")
    printf 'FAILED  %s: %s\n%s\n' "$name" "$*" "$output"
  fi
}
in_backend() {
  cd backend && MYPYPATH=src:.:../auth/supertokens:../ops:../tests:../tests/crash "$@"
}
in_screen() {
  cd ui/streamlit && MYPYPATH=. "$@"
}
present() {
  for path in "$@"; do
    if [[ -e $path ]]; then printf '%s\n' "$path"; fi
  done
}

mapfile -t python < <(present backend auth/supertokens ops/native ops/quantconnect tests ui)
mapfile -t shell < <(present scripts/*.sh .ci/*)
mapfile -t sql < <(present db/postgres/*/*.sql backend/src/app/{outbox,audits}/schema.sql)
mapfile -t procedures < <(present db/postgres/procedures/*.sql)
mapfile -t zig < <(present backend/zig-lmdb/build.zig backend/zig-lmdb/{src,tests})
mapfile -t typed < <(cd backend && present src/app worker paper ../auth/supertokens/devcore ../ops/native)
mapfile -t tests < <(cd backend && present ../tests)

check "ruff format" ruff format --check --config backend/pyproject.toml "${python[@]}"
check "ruff lint" ruff check --config backend/pyproject.toml "${python[@]}"
check "mypy" in_backend mypy --config-file pyproject.toml --exclude /tests/ "${typed[@]}"
check "mypy of tests" in_backend mypy --config-file pyproject.toml "${tests[@]}"
check "mypy of the screen" in_screen mypy --config-file ../../backend/pyproject.toml \
  components services gate app.py asgi.py peg_login.py
check "import contracts" in_backend lint-imports --config pyproject.toml
check "sqruff" sqruff --config db/postgres/.sqruff lint "${sql[@]}"
check "pgspot" pgspot --ignore PS002 "${procedures[@]}"
check "shellcheck" shellcheck "${shell[@]}"
check "shfmt" shfmt --indent 2 --case-indent --diff "${shell[@]}"
check "zig fmt" python -m ziglang fmt --check "${zig[@]}"

if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'check: failed: %s\n' "$(IFS=, && echo "${failed[*]}")" >&2
  exit 1
fi
