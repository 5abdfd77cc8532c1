"""The library and its header are one thing, and its own tests pass."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cffi
import pytest
from lmdb_kit import BACKEND, LIBRARY, ZIG_LMDB

from app.services import lmdb_rows, lmdb_store
from app.services.lmdb_errors import LibraryUnusable

HEADER = ZIG_LMDB / "include" / "lmdb.h"
SCRIPT = BACKEND.parent / "scripts" / "build_zig_lmdb.sh"


def test_the_zig_tests_pass(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [SCRIPT, "--test"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    passed = re.search(r"All \d+ tests passed", done.stderr)
    assert passed is not None
    with capsys.disabled():
        sys.stdout.write(f"\nZig: {passed[0]} in {time.monotonic() - started:.1f} s\n")


def test_the_zig_code_is_formatted() -> None:
    paths = [ZIG_LMDB / name for name in ("build.zig", "src", "tests")]
    zig = [sys.executable, "-m", "ziglang", "fmt", "--check"]
    done = subprocess.run([*zig, *paths], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_the_build_script_and_build_zig_compile_alike() -> None:
    script, build = SCRIPT.read_text(), (ZIG_LMDB / "build.zig").read_text()
    flags = re.search(r"^cflags=\((.*)\)$", script, re.M)
    assert flags is not None
    flags_in_build = re.findall(r'"(-[\w=-]+)"', build)
    assert flags_in_build == [*flags[1].split(), "-mllvm", "-x86-cmov-converter-force-all=true"]
    assert "-mllvm -x86-cmov-converter-force-all=true" in script
    assert "x86_64_v2" in script
    assert "x86_64_v2" in build


def test_the_header_declares_what_the_library_exports_and_nothing_else() -> None:
    declared = set(re.findall(r"\b(zl_\w+)\(", HEADER.read_text()))
    exported = {name.decode() for name in re.findall(rb"\0(zl_\w+)(?=\0)", LIBRARY.read_bytes())}
    assert declared == exported


def test_the_structs_are_laid_out_as_python_packs_them() -> None:
    ffi = cffi.FFI()
    ffi.cdef(HEADER.read_text())
    for name, packing in (
        ("zl_op", lmdb_store._OPERATION),
        ("zl_result", lmdb_store._RESULT),
        ("zl_row", lmdb_store._ROW),
    ):
        assert ffi.sizeof(name) == packing.size, name
        fields = [field.offset for _, field in ffi.typeof(name).fields]
        assert len(fields) == len(packing.unpack(bytes(packing.size)))
        assert fields == sorted(fields)
    assert ffi.typeof("zl_stats").fields[0][0] == "entries"
    names = [name for name, _ in ffi.typeof("zl_stats").fields]
    assert names == list(lmdb_rows.Stats.__dataclass_fields__)


def test_the_limits_in_python_are_those_of_the_header() -> None:
    _, lib = lmdb_store.load_library(LIBRARY)
    assert lib.ZL_KEY_SIZE_MAX == lmdb_rows.KEY_BYTES_MAX
    assert lib.ZL_VALUE_SIZE_MAX == lmdb_rows.VALUE_BYTES_MAX
    assert lib.ZL_BATCH_OPS_MAX == lmdb_rows.BATCH_OPERATIONS_MAX


def test_every_code_of_the_header_has_a_text() -> None:
    ffi, lib = lmdb_store.load_library(LIBRARY)
    codes = [int(code) for code in re.findall(r"#define ZL_\w+ (-\d+)", HEADER.read_text())]
    texts = {ffi.string(lib.zl_strerror(code)) for code in codes}
    assert len(texts) == len(codes) == 23
    assert b"unknown code" not in texts


def test_a_missing_library_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LibraryUnusable, match=r"run scripts/build_zig_lmdb\.sh"):
        lmdb_store.LmdbStore(tmp_path / "store", tmp_path / "libzig_lmdb.so")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("#define ZL_ABI_VERSION 1", "#define ZL_ABI_VERSION 2"),
        ("  uint32_t readers_max;", "  uint64_t readers_max;"),
        ("int32_t zl_sync(uint64_t store);", "int32_t zl_sink(uint64_t store);"),
    ],
)
def test_a_library_of_another_header_is_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "target").mkdir()
    text = HEADER.read_text()
    assert old in text
    (tmp_path / "include" / "lmdb.h").write_text(text.replace(old, new))
    library = tmp_path / "target" / LIBRARY.name
    shutil.copy(LIBRARY, library)
    with pytest.raises(LibraryUnusable, match=r"build_zig_lmdb\.sh"):
        lmdb_store.LmdbStore(tmp_path / "store", library)


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "target").mkdir()
    shutil.copy(HEADER, tmp_path / "include")
    library = tmp_path / "target" / LIBRARY.name
    library.write_bytes(b"not a library")
    with pytest.raises(LibraryUnusable, match="cannot be used"):
        lmdb_store.LmdbStore(tmp_path / "store", library)


def test_nonsense_over_the_abi_is_answered_and_never_a_crash(tmp_path: Path) -> None:
    ffi, lib = lmdb_store.load_library(LIBRARY)
    null = ffi.NULL
    assert lib.zl_open(null, null, null) == lib.ZL_ARGUMENT
    handle = ffi.new("uint64_t *")
    options = ffi.new("zl_options *", (1 << 20, 1 << 20, 16, lib.ZL_NOSYNC))
    assert lib.zl_open(str(tmp_path).encode(), options, handle) == lib.ZL_OK
    store, table = handle[0], ffi.new("uint32_t *")
    assert lib.zl_table_open(store, b"quotes", table) == lib.ZL_OK
    results = ffi.new("zl_result[]", 1)
    # Sizes that do not add up would read beyond the data.
    for key_size, value_size, data_size in ((3, 0, 2), (2**32 - 1, 2**32 - 1, 2), (1, 0, 2)):
        op = ffi.new("zl_op[]", [(lib.ZL_PUT, 0, key_size, value_size, 2**64 - 1, 0)])
        code = lib.zl_apply(store, op, 1, b"kv", data_size, 0, results)
        assert code == lib.ZL_ARGUMENT
    for kind, number, expires in ((0, 0, 0), (4, 0, 0), (1, 1, 0), (1, 2**32 - 1, 0), (1, 0, -1)):
        op = ffi.new("zl_op[]", [(kind, number, 1, 1, 2**64 - 1, expires)])
        assert lib.zl_apply(store, op, 1, b"kv", 2, 0, results) == lib.ZL_ARGUMENT
    for stale in (0, 1, 9, 255, store + 1, store + 256, 2**64 - 1):
        assert lib.zl_sync(stale) == lib.ZL_CLOSED
        assert lib.zl_close(stale) == lib.ZL_CLOSED
    for name in (b"", b"_x", b"A", b"a-b", b"a" * 33, b"__meta", b"\xff"):
        assert lib.zl_table_open(store, name, table) == lib.ZL_ARGUMENT
    assert lib.zl_close(store) == lib.ZL_OK
    assert lib.zl_close(store) == lib.ZL_CLOSED
