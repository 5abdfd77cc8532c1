"""The hot store's file through the Zig library, called by cffi; side effect: LMDB.

Everything here is synchronous and safe from any thread; what is read is copied. The order of
writes, and who waits for them, is the business of lmdb_actor.
"""

import functools
import os
import shutil
import struct
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cffi

from app.services.lmdb_errors import (
    LibraryUnusable,
    LmdbError,
    StoreClosed,
    TableUnknown,
    error_of,
)
from app.services.lmdb_rows import (
    KEY_BYTES_MAX,
    MIB,
    VALUE_BYTES_MAX,
    VERSION_ANY,
    Durability,
    Entry,
    Kind,
    Operation,
    Page,
    Row,
    Stats,
    key_bytes,
    moment_of,
)

_NOT_FOUND = -1
_BUFFER_TOO_SMALL = -6
_ABORTED = -11
_ROW_LIVE = 0
_ROW_EXPIRED = 1
_OPERATION = struct.Struct("<IIIIQq")
_RESULT = struct.Struct("<iIQ")
_ROW = struct.Struct("<IIIIQq")
# The structs of the header, in the order of zl_struct_size.
_STRUCTS = ("zl_options", "zl_meta", "zl_op", "zl_result", "zl_row", "zl_position", "zl_stats")


class LmdbStore:
    """One folder with the hot store, open in this process."""

    def __init__(
        self,
        path: Path,
        library: Path,
        *,
        tables: Iterable[str] = (),
        map_size: int = 1024 * MIB,
        map_size_max: int = 64 * 1024 * MIB,
        readers_max: int = 510,
        durability: Durability = Durability.FULL,
        salvage: bool = False,
    ) -> None:
        """Open or make the folder; a damaged file is refused, damaged rows too but to `salvage`.

        The map costs address space only, so it is large from the start.
        """
        self.path = path
        self._library = library.resolve()
        self._ffi, self._lib = load_library(self._library)
        self._allocate = self._ffi.new_allocator(should_clear_after_alloc=False)
        self._local = threading.local()
        self._tables: dict[str, int] = {}
        self._handle = 0
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = durability.value | (self._lib.ZL_SALVAGE if salvage else 0)
        options = self._ffi.new("zl_options *", (map_size, map_size_max, readers_max, flags))
        handle = self._ffi.new("uint64_t *")
        code = self._lib.zl_open(os.fsencode(path), options, handle)
        if code < 0:
            raise self._error(code, prefix=f"{path}: ")
        self._handle = handle[0]
        try:
            for name in tables:
                self.open_table(name)
        except BaseException:
            self.close()
            raise

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the names of the open tables."""
        return tuple(self._tables)

    def open_table(self, name: str) -> None:
        """Open a table, making it at the first time: 1 to 32 of a-z 0-9 _."""
        table = self._ffi.new("uint32_t *")
        self._check(self._lib.zl_table_open(self._handle, name.encode(), table))
        self._tables[name] = table[0]

    def get(self, table: str, key: str | bytes) -> Entry | None:
        """Return the row, or None when it is absent or its time is over."""
        name = key_bytes(key)
        buffers = self._buffers()
        code = self._get(table, name, buffers)
        while code == _BUFFER_TOO_SMALL:
            buffers.make_room(self._ffi, buffers.meta.value_size)
            code = self._get(table, name, buffers)
        if code == _NOT_FOUND:
            return None
        self._check(code)
        meta = buffers.meta
        value = self._ffi.buffer(buffers.value, meta.value_size)[:]
        return Entry(value, meta.version, moment_of(meta.expires_ms))

    def put(self, table: str, key: str | bytes, value: bytes, **options: Any) -> int:
        """Write one row in a commit of its own; returns its version."""
        return self._single(Operation.put(table, key, value, **options))

    def delete(self, table: str, key: str | bytes, **options: Any) -> bool:
        """Remove one row in a commit of its own; says whether it was there."""
        return self._single(Operation.delete(table, key, **options)) != 0

    def apply(
        self, operations: Sequence[Operation], *, atomic: bool = False
    ) -> list[int | LmdbError]:
        """Run a group in one commit; each gets its version or its own error.

        A version is the new one of a put, the removed one of a delete, 0 for nothing removed.
        With `atomic`, nothing is written when one of them fails.
        """
        packed = b"".join(
            _OPERATION.pack(
                operation.kind,
                self._table(operation.table),
                len(operation.key),
                len(operation.value),
                VERSION_ANY if operation.if_version is None else operation.if_version,
                operation.expires_ms,
            )
            for operation in operations
        )
        data = b"".join(part for each in operations for part in (each.key, each.value))
        results = bytearray(_RESULT.size * len(operations))
        code = self._lib.zl_apply(
            self._handle,
            self._ffi.from_buffer("zl_op[]", packed),
            len(operations),
            data,
            len(data),
            self._lib.ZL_ATOMIC if atomic else 0,
            self._ffi.from_buffer("zl_result[]", results),
        )
        if code != _ABORTED:
            self._check(code)
        return [
            version if status == 0 else error_of(status, self._text(status), version=version)
            for status, _, version in _RESULT.iter_unpack(results)
        ]

    def scan(
        self,
        table: str,
        *,
        prefix: bytes = b"",
        position: bytes | None = None,
        limit: int = 1000,
        bytes_max: int = 4 * MIB,
    ) -> Page:
        """Return up to `limit` rows in key order, from one snapshot of the table."""
        place = self._ffi.new("zl_position *")
        if position:
            place.key_size = len(position)
            self._ffi.memmove(
                place.key, position[:KEY_BYTES_MAX], min(len(position), KEY_BYTES_MAX)
            )
        rows = bytearray(_ROW.size * limit)
        count = self._ffi.new("uint32_t *")
        size = max(bytes_max, VALUE_BYTES_MAX + KEY_BYTES_MAX)
        data = self._allocate("uint8_t[]", size)
        code = self._lib.zl_scan(
            self._handle,
            self._table(table),
            prefix,
            len(prefix),
            self._ffi.from_buffer("zl_row[]", rows),
            limit,
            count,
            data,
            size,
            place,
        )
        self._check(code)
        end = self._ffi.buffer(place.key, place.key_size)[:] if place.more else None
        return _page(rows[: count[0] * _ROW.size], self._ffi.buffer(data), end)

    def sweep(self, table: str, position: bytes | None = None) -> tuple[int, bytes | None]:
        """Remove expired rows of one page; returns how many, and where to go on."""
        page = self.scan(table, position=position)
        if not page.expired:
            return 0, page.position
        results = self.apply([Operation(Kind.EXPIRE, table, key) for key in page.expired])
        return sum(1 for version in results if isinstance(version, int) and version), page.position

    def stats(self, table: str) -> Stats:
        """Return sizes and limits."""
        stats = self._ffi.new("zl_stats *")
        self._check(self._lib.zl_stats_read(self._handle, self._table(table), stats))
        return Stats(**{name: getattr(stats, name) for name in Stats.__dataclass_fields__})

    def reader_check(self) -> int:
        """Free the reader slots of processes that died; returns how many."""
        dead = self._ffi.new("uint32_t *")
        self._check(self._lib.zl_reader_check(self._handle, dead))
        return int(dead[0])

    def sync(self) -> None:
        """Flush to disk what commits without durability left behind."""
        self._check(self._lib.zl_sync(self._handle))

    def backup(self, target: Path) -> None:
        """Write a compact copy into the new folder `target`; it is opened once as a proof."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise LmdbError(f"{target} exists; name a new folder for the backup.")
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            self._check(self._lib.zl_backup(self._handle, os.fsencode(draft)))
            LmdbStore(draft, self._library).close()
            (draft / "lock.mdb").unlink()
            _flush(draft / "data.mdb")
            draft.rename(target)
            _flush(target.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def close(self) -> None:
        """Close the file; calls that still run end first."""
        handle, self._handle = self._handle, 0
        if handle:
            self._check(self._lib.zl_close(handle))

    def _get(self, table: str, key: bytes, buffers: "_Buffers") -> int:
        code: int = self._lib.zl_get(
            self._handle,
            self._table(table),
            key,
            len(key),
            buffers.value,
            buffers.capacity,
            buffers.meta,
        )
        return code

    def _single(self, operation: Operation) -> int:
        result = self.apply([operation])[0]
        if isinstance(result, LmdbError):
            raise result
        return result

    def _table(self, name: str) -> int:
        try:
            return self._tables[name]
        except KeyError:
            if not self._handle:
                raise StoreClosed from None
            raise TableUnknown(f"There is no table {name!r} in the hot store.") from None

    def _buffers(self) -> "_Buffers":
        buffers: _Buffers | None = getattr(self._local, "buffers", None)
        if buffers is None:
            buffers = self._local.buffers = _Buffers(self._ffi)
        return buffers

    def _check(self, code: int) -> None:
        if code < 0:
            raise self._error(code)

    def _error(self, code: int, prefix: str = "") -> LmdbError:
        text = self._ffi.string(self._lib.zl_last_error()).decode(errors="replace")
        return error_of(code, f"{prefix}{text}.")

    def _text(self, code: int) -> str:
        return str(self._ffi.string(self._lib.zl_strerror(code)).decode()) + "."


class _Buffers:
    """What one thread reads into."""

    def __init__(self, ffi: Any) -> None:
        self.meta = ffi.new("zl_meta *")
        self.make_room(ffi, 4096)

    def make_room(self, ffi: Any, size: int) -> None:
        self.capacity = size
        self.value = ffi.new("uint8_t[]", size)


# Kept for ever: cffi would unload a library that Python holds no more, under open stores.
@functools.cache
def load_library(path: Path) -> tuple[Any, Any]:
    """Load the library and compare it with its header; returns (ffi, lib)."""
    header = path.parent.parent / "include" / "lmdb.h"
    if not path.exists():
        raise LibraryUnusable(f"{path} is missing: run scripts/build_zig_lmdb.sh.")
    ffi = cffi.FFI()
    try:
        ffi.cdef(header.read_text())
        lib: Any = ffi.dlopen(str(path))
        matches = lib.zl_abi_version() == lib.ZL_ABI_VERSION and all(
            ffi.sizeof(name) == lib.zl_struct_size(index) for index, name in enumerate(_STRUCTS)
        )
        missing = [name for name in dir(lib) if not hasattr(lib, name)]
    except (OSError, AttributeError, cffi.CDefError) as error:
        remedy = "run scripts/build_zig_lmdb.sh on this machine"
        raise LibraryUnusable(f"{path} cannot be used ({error}): {remedy}.") from error
    if missing or not matches:
        raise LibraryUnusable(f"{path} is not built from {header}: run scripts/build_zig_lmdb.sh.")
    return ffi, lib


def _page(rows: bytearray, data: Any, position: bytes | None) -> Page:
    """Cut what zl_scan wrote into rows: each is its key and then its value."""
    page = Page(rows=[], expired=[], damaged=[], position=position)
    offset = 0
    for state, key_size, value_size, _, version, expires_ms in _ROW.iter_unpack(rows):
        key = data[offset : offset + key_size]
        offset += key_size
        value = data[offset : offset + value_size]
        offset += value_size
        if state == _ROW_LIVE:
            page.rows.append(Row(key, value, version, moment_of(expires_ms)))
        else:
            (page.expired if state == _ROW_EXPIRED else page.damaged).append(key)
    return page


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
