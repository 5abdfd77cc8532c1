#!/usr/bin/env bash
# Check the style, the types and the contracts of the whole tree.
#
#   scripts/check.sh              everything, as `make check` does
#   scripts/check.sh GROUP ...    python, sql, shell, zig, workflows, docker, yaml, as the hooks do
#
# Every check runs, also after one has failed; the exit code is 1 when any did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH" failed=() wanted=" $* "

check() {
  local group=$1 name=$2 output && shift 2
  [[ "$wanted" == "  " || "$wanted" == *" $group "* ]] || return 0
  if output=$("$@" 2>&1); then
    printf 'ok      %s\n' "$name"
  else
    failed+=("$name")
    printf 'FAILED  %s: %s\n%s\n' "$name" "$*" "$output"
  fi
}
paths=src:.:tests:../auth/supertokens:../ops:../tests:../tests/crash:../tests/crash/points:../ui/streamlit
in_backend() { cd backend && MYPYPATH=$paths "$@"; }
in_screen() { cd ui/streamlit && MYPYPATH=. "$@"; }
schema() { check-jsonschema --builtin-schema "vendor.$1" "${@:2}"; }
parse_yaml='import sys, yaml; [[*yaml.safe_load_all(open(it))] for it in sys.argv[1:]]'
python=(backend auth/supertokens ops scripts tests ui)
typed=(src/app worker paper ../auth/supertokens/devcore ../ops/native)
sql=(db/postgres/*/*.sql backend/src/app/{outbox,audits}/schema.sql)
zig=(backend/zig-lmdb/{build.zig,src,tests})
workflows=(ops/ci/github-actions/*.yml)
# Internal routines run under their caller's search path; pgspot cannot read bodies bound when laid.
mapfile -t definers < <(grep --files-with-matches 'SECURITY DEFINER' db/postgres/procedures/*.sql |
  xargs grep --files-without-match '^RETURN ')
mapfile -t shell < <(find scripts ops auth -name '*.sh' && echo .ci/run)
mapfile -t docker < <(find backend ui ops auth -name Dockerfile)
mapfile -t yaml < <(find .github auth db ops ./*.yml .*.yaml -name '*.y*ml')
check python "ruff format" ruff format --check --config backend/pyproject.toml "${python[@]}"
check python "ruff lint" ruff check --config backend/pyproject.toml "${python[@]}"
check python "mypy" in_backend mypy --config-file pyproject.toml --exclude /tests/ "${typed[@]}"
check python "mypy of tests" in_backend mypy --config-file pyproject.toml ../tests
check python "mypy of the screen" in_screen mypy --config-file ../../backend/pyproject.toml \
  components services gate app.py asgi.py peg_login.py
check python "import contracts" in_backend lint-imports --config pyproject.toml
check sql "sqruff" sqruff --config db/postgres/.sqruff lint "${sql[@]}"
check sql "pgspot" pgspot --ignore PS002 "${definers[@]}"
check shell "shellcheck" shellcheck "${shell[@]}"
check shell "shfmt" shfmt --indent 2 --case-indent --diff "${shell[@]}"
check zig "zig fmt" python -m ziglang fmt --check "${zig[@]}"
check workflows "zizmor" zizmor --offline --quiet --pedantic "${workflows[@]}" .github
check workflows "schema of workflows" schema github-workflows "${workflows[@]}"
check workflows "schema of dependabot" schema dependabot .github/dependabot.yml
check docker "schema of compose" schema compose-spec docker-compose.yml
check docker "hadolint" hadolint "${docker[@]}"
check yaml "yaml" python -c "$parse_yaml" "${yaml[@]}"
if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'check: failed: %s\n' "$(IFS=, && echo "${failed[*]}")" >&2
  exit 1
fi
