//! What we use of liblmdb 0.9: declarations, and the one map from its error codes to our errors.
//! Written by hand: Zig has no @cImport any more, and translate-c costs a minute of compiling.

const std = @import("std");
const assert = std.debug.assert;

pub const Env = opaque {};
pub const Txn = opaque {};
pub const CursorHandle = opaque {};
pub const Dbi = c_uint;

pub const Val = extern struct {
    size: usize = 0,
    data: ?[*]const u8 = null,

    pub fn from(bytes: []const u8) Val {
        return .{ .size = bytes.len, .data = bytes.ptr };
    }

    pub fn slice(val: Val) []const u8 {
        return if (val.size == 0) &.{} else val.data.?[0..val.size];
    }
};

pub const Stat = extern struct {
    page_size: c_uint = 0,
    depth: c_uint = 0,
    branch_pages: usize = 0,
    leaf_pages: usize = 0,
    overflow_pages: usize = 0,
    entries: usize = 0,
};

pub const EnvInfo = extern struct {
    fixed_address: ?*anyopaque = null,
    map_size: usize = 0,
    last_page: usize = 0,
    last_txn_id: usize = 0,
    readers_max: c_uint = 0,
    readers: c_uint = 0,
};

comptime {
    assert(@sizeOf(usize) == 8);
    assert(@sizeOf(Val) == 16);
    assert(@sizeOf(Stat) == 40);
    assert(@sizeOf(EnvInfo) == 40);
}

pub const env_nosync: c_uint = 0x10000;
pub const env_nometasync: c_uint = 0x40000;
pub const env_notls: c_uint = 0x200000;
pub const txn_rdonly: c_uint = 0x20000;
pub const dbi_create: c_uint = 0x40000;
pub const put_reserve: c_uint = 0x10000;
pub const copy_compact: c_uint = 0x01;
pub const main_dbi: Dbi = 1;

pub const CursorOp = enum(c_uint) { first = 0, next = 8, set_range = 17 };

pub const Error = error{
    Access,
    Corrupt,
    DiskFull,
    Internal,
    Io,
    MapFull,
    MapResized,
    NoMemory,
    NotOurs,
    Panic,
    ReadersFull,
    TxnFull,
};

pub const not_found: c_int = -30798;

/// Turns a return code into an error. "Not found" is no error: ask `found` where it can happen.
pub fn check(code: c_int) Error!void {
    return switch (code) {
        0 => {},
        -30797, -30796 => error.Corrupt, // PAGE_NOTFOUND, CORRUPTED
        -30795 => error.Panic,
        -30794, -30793, -30784 => error.NotOurs, // VERSION_MISMATCH, INVALID, INCOMPATIBLE
        -30792 => error.MapFull,
        -30790 => error.ReadersFull,
        -30788 => error.TxnFull,
        -30787, -30786 => error.Corrupt, // CURSOR_FULL, PAGE_FULL: trees LMDB never makes
        -30785 => error.MapResized,
        else => check_errno(code),
    };
}

fn check_errno(code: c_int) Error {
    if (code < 0) return error.Internal;
    return switch (@as(std.c.E, @fromBackingInt(@intCast(code)))) {
        .NOSPC, .DQUOT, .FBIG => error.DiskFull,
        .NOMEM, .AGAIN, .MFILE, .NFILE => error.NoMemory,
        .ACCES, .PERM, .ROFS, .NOENT, .NOTDIR, .EXIST => error.Access,
        .IO => error.Io,
        else => error.Internal,
    };
}

/// True when there is such a row, false when there is none.
pub fn found(code: c_int) Error!bool {
    if (code == not_found) return false;
    try check(code);
    return true;
}

pub extern fn mdb_version(major: ?*c_int, minor: ?*c_int, patch: ?*c_int) [*:0]const u8;
pub extern fn mdb_env_create(env: *?*Env) c_int;
pub extern fn mdb_env_open(env: *Env, path: [*:0]const u8, flags: c_uint, mode: c_uint) c_int;
pub extern fn mdb_env_close(env: *Env) void;
pub extern fn mdb_env_copy2(env: *Env, path: [*:0]const u8, flags: c_uint) c_int;
pub extern fn mdb_env_info(env: *Env, out: *EnvInfo) c_int;
pub extern fn mdb_env_sync(env: *Env, force: c_int) c_int;
pub extern fn mdb_env_set_mapsize(env: *Env, size: usize) c_int;
pub extern fn mdb_env_set_maxreaders(env: *Env, readers: c_uint) c_int;
pub extern fn mdb_env_set_maxdbs(env: *Env, dbs: Dbi) c_int;
pub extern fn mdb_reader_check(env: *Env, dead: *c_int) c_int;
pub extern fn mdb_txn_begin(env: *Env, parent: ?*Txn, flags: c_uint, txn: *?*Txn) c_int;
pub extern fn mdb_txn_commit(txn: *Txn) c_int;
pub extern fn mdb_txn_abort(txn: *Txn) void;
pub extern fn mdb_txn_reset(txn: *Txn) void;
pub extern fn mdb_txn_renew(txn: *Txn) c_int;
pub extern fn mdb_dbi_open(txn: *Txn, name: ?[*:0]const u8, flags: c_uint, dbi: *Dbi) c_int;
pub extern fn mdb_stat(txn: *Txn, dbi: Dbi, out: *Stat) c_int;
pub extern fn mdb_get(txn: *Txn, dbi: Dbi, key: *Val, data: *Val) c_int;
pub extern fn mdb_put(txn: *Txn, dbi: Dbi, key: *Val, data: *Val, flags: c_uint) c_int;
pub extern fn mdb_del(txn: *Txn, dbi: Dbi, key: *Val, data: ?*Val) c_int;
pub extern fn mdb_cursor_open(txn: *Txn, dbi: Dbi, cursor: *?*CursorHandle) c_int;
pub extern fn mdb_cursor_close(cursor: *CursorHandle) void;
pub extern fn mdb_cursor_get(cursor: *CursorHandle, key: *Val, data: *Val, op: CursorOp) c_int;

/// One table inside one transaction, in the shape that hashtable.zig works on.
/// Slices it returns point into the map and die with the next write or the transaction.
pub const Rows = struct {
    txn: *Txn,
    dbi: Dbi,
    /// From the table's name; see hashtable.zig.
    seed: u64,

    pub const StoreError = Error;
    pub const Cursor = RowCursor;

    pub fn get(rows: Rows, key: []const u8) Error!?[]const u8 {
        assert(key.len > 0);
        var key_val = Val.from(key);
        var data: Val = .{};
        if (!try found(mdb_get(rows.txn, rows.dbi, &key_val, &data))) return null;
        return data.slice();
    }

    /// Makes the row and returns the place for its value, to be filled at once.
    pub fn reserve(rows: Rows, key: []const u8, size: usize) Error![]u8 {
        assert(key.len > 0);
        assert(size > 0);
        var key_val = Val.from(key);
        var data: Val = .{ .size = size };
        try check(mdb_put(rows.txn, rows.dbi, &key_val, &data, put_reserve));
        assert(data.size == size);
        return @constCast(data.data.?[0..size]);
    }

    /// Says whether there was such a row.
    pub fn remove(rows: Rows, key: []const u8) Error!bool {
        assert(key.len > 0);
        var key_val = Val.from(key);
        return found(mdb_del(rows.txn, rows.dbi, &key_val, null));
    }

    pub fn cursor(rows: Rows) Error!RowCursor {
        var handle: ?*CursorHandle = null;
        try check(mdb_cursor_open(rows.txn, rows.dbi, &handle));
        return .{ .handle = handle.? };
    }
};

pub const RowCursor = struct {
    handle: *CursorHandle,

    pub const Row = struct { key: []const u8, stored: []const u8 };

    /// Goes to the first row at or after `key`; an empty key is before all others.
    pub fn seek(cursor: RowCursor, key: []const u8) Error!?Row {
        return cursor.move(key, if (key.len == 0) .first else .set_range);
    }

    pub fn next(cursor: RowCursor) Error!?Row {
        return cursor.move("", .next);
    }

    fn move(cursor: RowCursor, key: []const u8, op: CursorOp) Error!?Row {
        var key_val = Val.from(key);
        var data: Val = .{};
        if (!try found(mdb_cursor_get(cursor.handle, &key_val, &data, op))) return null;
        return .{ .key = key_val.slice(), .stored = data.slice() };
    }

    pub fn close(cursor: RowCursor) void {
        mdb_cursor_close(cursor.handle);
    }
};
