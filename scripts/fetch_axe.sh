#!/usr/bin/env bash
# Fetch axe-core, which judges the accessibility of the pages, into .cache; once, by its hash.
#
#   scripts/fetch_axe.sh
#
# It comes from the npm registry. Without it, the tests of accessibility are skipped and say so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=4.14.1
hash=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
target=.cache/axe-core/axe.min.js

die() {
  printf 'fetch_axe: %s\n' "$1" >&2
  exit 1
}
genuine() { sha256sum --check --status <<<"$hash  $1" 2>/dev/null; }

[[ -f $target ]] && genuine "$target" && exit 0
command -v npm >/dev/null || die "npm is missing: apt-get install npm"

mkdir --parents "${target%/*}"
# Beside its place, so that it gets there in one step.
folder=$(mktemp --directory "$PWD/.cache/axe-core/fetch.XXXXXX")
trap 'rm --recursive --force "$folder"' EXIT
npm pack --silent --pack-destination "$folder" "axe-core@$version" >/dev/null ||
  die "the npm registry did not give axe-core $version"
tar --extract --gzip --directory "$folder" --strip-components 1 \
  --file "$folder/axe-core-$version.tgz" package/axe.min.js
genuine "$folder/axe.min.js" || die "axe-core $version is not what its hash says"
mv "$folder/axe.min.js" "$target"
