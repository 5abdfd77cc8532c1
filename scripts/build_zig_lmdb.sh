#!/usr/bin/env bash
# Build the library of the hot store, backend/zig-lmdb/target/libzig_lmdb.so.
#
#   scripts/build_zig_lmdb.sh           build it, when its sources or the compiler changed
#   scripts/build_zig_lmdb.sh --test    run the Zig tests
#
# LMDB's C code comes from the sdist `lmdb` of the package index, pinned by content. Reads PYTHON
# (default .venv/bin/python; needs ziglang and pip) and ZIG_GLOBAL_CACHE_DIR (default .cache/zig).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
script=$PWD/scripts/build_zig_lmdb.sh
python=$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")
export ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$PWD/.cache/zig} PIP_DISABLE_PIP_VERSION_CHECK=1
sdist="lmdb==3.0.0 --hash=sha256:06dda0723545e14d56ac7dcd6f582d9922c2ed5e16f1c3f8d0e670a96ec2ee65"
say() { printf 'zig-lmdb: %s\n' "$1"; }
die() { say "$1" >&2 && exit 1; }
zig=$("$python" -c 'import ziglang; print(ziglang.__path__[0])' 2>/dev/null)/zig ||
  die "no ziglang in $python: run make setup first"
cd backend/zig-lmdb
mkdir -p target "$ZIG_GLOBAL_CACHE_DIR" || die "cannot write to $PWD/target"
exec 9>target/.lock
flock --nonblock 9 || { say "waiting for another build" && flock 9; }
work=$(mktemp --directory target/.work.XXXXXX)
trap 'rm --recursive --force "$work"' EXIT

if ! (cd target && sha256sum --check --status ../lmdb.sha256) 2>/dev/null; then
  say "fetching LMDB's source (${sdist%% *})"
  printf '%s\n' "$sdist" >"$work/requirements.txt"
  # Its set-up then neither patches nor compiles anything: not every machine has the tools.
  LMDB_PURE=1 "$python" -m pip download --quiet --no-binary lmdb --no-deps --require-hashes \
    --dest "$work" --requirement "$work/requirements.txt" ||
    die "the package index did not serve it; see above"
  mkdir "$work/lmdb-src"
  tar --extract --file "$work/lmdb-3.0.0.tar.gz" --directory "$work/lmdb-src" --transform 's,.*/,,' \
    lmdb-3.0.0/LICENSE lmdb-3.0.0/lib/{mdb.c,midl.c,lmdb.h,midl.h}
  (cd "$work" && sha256sum --check --quiet ../../lmdb.sha256) ||
    die "the source is not the pinned one; nothing was built"
  rm --recursive --force target/lmdb-src && mv "$work/lmdb-src" target/lmdb-src
fi
# Not by `zig build`: that first compiles its build runner, two minutes of CPU which a first
# `make up` does not have. Called directly, the compiler needs seconds. Flags: see build.zig.
flags=(-fPIC -lc --cache-dir .zig-cache)
cflags=(-O2 -DNDEBUG -fno-sanitize=undefined -fvisibility=hidden -Wno-unused)
if [[ $(uname --machine) == x86_64 ]]; then
  flags+=(-mcpu x86_64_v2) && cflags+=(-mllvm -x86-cmov-converter-force-all=true)
fi
c_code=(-cflags "${cflags[@]}" -- target/lmdb-src/mdb.c target/lmdb-src/midl.c)
if [[ ${1:-} == --test ]]; then
  "$zig" test -Odebug "${flags[@]}" --dep bridge -Mroot=tests/hashtable_test.zig \
    -Odebug "${flags[@]}" "${c_code[@]}" -Mbridge=src/bridge.zig
  exit
fi
stamp=$(cat src/*.zig lmdb.sha256 "$script" <("$zig" version) | sha256sum)
[[ ! -f target/libzig_lmdb.so || $(cat target/.stamp 2>/dev/null) != "$stamp" ]] || exit 0
say "compiling with Zig $("$zig" version); the first time takes longer"
"$zig" build-lib -dynamic -Osafe "${flags[@]}" -fstrip --name zig_lmdb \
  -femit-bin="$work/libzig_lmdb.so" "${c_code[@]}" -Mroot=src/bridge.zig || die "compiling failed"
mv "$work/libzig_lmdb.so" target/libzig_lmdb.so && printf '%s\n' "$stamp" >target/.stamp
say "built backend/zig-lmdb/target/libzig_lmdb.so in $SECONDS s"
