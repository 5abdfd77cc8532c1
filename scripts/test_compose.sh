#!/usr/bin/env bash
# Run the platform in containers and test it through its public door, as users and programs do.
#
#   scripts/test_compose.sh                 with Caddy, with NGINX, and with PgBouncer
#   scripts/test_compose.sh caddy|nginx|pgbouncer ...
#
# Needs root, a Docker engine with the base images (docs/containers.md) and Chromium. IDENTITY names
# the core: devcore (default) or supertokens. Everything that was started is removed at the end.
# Start no other container meanwhile: a browser drops what it loads when the networks change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'test_compose: %s\n' "$1" >&2
  exit 1
}
docker info >/dev/null 2>&1 || die "no Docker engine answers: start it first"
[[ $(id --user) == 0 ]] || die "it stops and kills processes inside containers: run it as root"
command -v chromium >/dev/null || die "no browser here: apt-get install chromium"
[[ -f .cache/axe-core/axe.min.js ]] || scripts/fetch_axe.sh

export PLATFORM=compose COMPOSE_PROJECT_NAME=informania-test-$$
ours=label=com.docker.compose.project=$COMPOSE_PROJECT_NAME
left() {
  docker ps --all --quiet --filter "$ours"
  docker network ls --quiet --filter "$ours"
  docker volume ls --quiet --filter "$ours"
}
remove() {
  docker ps --all --quiet --filter "$ours" | xargs --no-run-if-empty docker rm --force --volumes
  docker network ls --quiet --filter "$ours" | xargs --no-run-if-empty docker network rm
  docker volume ls --quiet --filter "$ours" | xargs --no-run-if-empty docker volume rm
}
trap 'remove >/dev/null' EXIT

checks=tests/compose/containers_checks.py order=tests/e2e/e2e_place_order.py
declare -A tests=(
  # The checks first: those of the browser kill what they then expect to come back.
  [caddy]="$checks $order tests/e2e/e2e_gates.py tests/e2e/e2e_secrets_in_logs.py tests/e2e/e2e_browser.py"
  [nginx]="$order tests/e2e/e2e_browser.py"
  [pgbouncer]="$checks $order"
)
[[ $# -gt 0 ]] || set -- caddy nginx pgbouncer
for choice in "$@"; do
  [[ -n "${tests[$choice]:-}" ]] || die "$choice is unknown: use ${!tests[*]}"
done
for choice in "$@"; do
  export PROFILES="$choice,${IDENTITY:-devcore}"
  printf '\n=== in containers with %s ===\n' "$PROFILES"
  began=$SECONDS
  # shellcheck disable=SC2086  # a list of files
  .venv/bin/pytest -c backend/pyproject.toml --rootdir=. -p no:cacheprovider ${tests[$choice]}
  [[ -z "$(left)" ]] || die "left behind with $PROFILES: $(left)"
  printf '=== %s: passed in %s s, nothing left behind ===\n' "$PROFILES" $((SECONDS - began))
done
docker image ls 'informania/*' --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
