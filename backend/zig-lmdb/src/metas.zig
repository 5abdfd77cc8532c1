//! The two metas at the start of LMDB's file: whether they are sound, and which is the newer.

const std = @import("std");
const assert = std.debug.assert;
const pages = @import("pages.zig");
const read_int = pages.read_int;

pub const Error = error{ Corrupt, NotOurs };

/// No file of ours comes near; what claims to be larger is damaged.
const file_size_max: u64 = 1 << 46;
const meta_size: u32 = pages.header_size + 136;
pub const db_size: u32 = 48;
const magic: u32 = 0xBEEFC0DE;
const page_meta: u16 = 0x08;
const flag_integer_key: u16 = 0x08;

/// What LMDB knows of one tree (MDB_db).
pub const Db = struct {
    pad: u32,
    flags: u16,
    depth: u16,
    branch_pages: u64,
    leaf_pages: u64,
    overflow_pages: u64,
    entries: u64,
    root: u64,

    pub fn read(bytes: []const u8) Db {
        assert(bytes.len == db_size);
        return .{
            .pad = read_int(u32, bytes, 0),
            .flags = read_int(u16, bytes, 4),
            .depth = read_int(u16, bytes, 6),
            .branch_pages = read_int(u64, bytes, 8),
            .leaf_pages = read_int(u64, bytes, 16),
            .overflow_pages = read_int(u64, bytes, 24),
            .entries = read_int(u64, bytes, 32),
            .root = read_int(u64, bytes, 40),
        };
    }
};

/// The start of a snapshot (MDB_meta). Two of them alternate.
pub const Meta = struct {
    page_size: u32,
    map_size: u64,
    last_page: u64,
    txn_id: u64,
    free: Db,
    main: Db,

    /// `bytes` begins at a meta page, as it is in the file.
    fn read(bytes: []const u8, number: u64) Error!Meta {
        assert(bytes.len >= meta_size);
        assert(number < 2);
        if (read_int(u16, bytes, 10) & page_meta == 0) return error.NotOurs;
        if (read_int(u32, bytes, 16) != magic) return error.NotOurs;
        if (read_int(u32, bytes, 20) != 1) return error.NotOurs;
        if (read_int(u64, bytes, 0) != number) return error.Corrupt;
        if (read_int(u64, bytes, 24) != 0) return error.Corrupt; // fixed address: never ours
        const meta: Meta = .{
            .page_size = read_int(u32, bytes, 40),
            .map_size = read_int(u64, bytes, 32),
            .free = Db.read(bytes[40..][0..db_size]),
            .main = Db.read(bytes[88..][0..db_size]),
            .last_page = read_int(u64, bytes, 136),
            .txn_id = read_int(u64, bytes, 144),
        };
        if (meta.free.flags != flag_integer_key) return error.Corrupt;
        if (meta.main.flags != 0 or meta.main.pad != 0) return error.Corrupt;
        if (meta.page_size < 512 or meta.page_size > pages.size_max) return error.Corrupt;
        if (!std.math.isPowerOfTwo(meta.page_size)) return error.Corrupt;
        return meta;
    }
};

pub const Metas = struct { newest: Meta, older: Meta };

/// Reads both metas and says which is the newer. `file` holds at least two pages, if there are two.
pub fn read_metas(file: []const u8) Error!Metas {
    if (file.len < meta_size) return error.Corrupt;
    const first = try Meta.read(file, 0);
    if (file.len < 2 * @as(u64, first.page_size)) return error.Corrupt;
    const second = try Meta.read(file[first.page_size..], 1);
    if (first.page_size != second.page_size) return error.Corrupt;
    for ([_]Meta{ first, second }) |meta| {
        if (meta.map_size > file_size_max) return error.Corrupt;
        if (meta.last_page < 1) return error.Corrupt;
        if (meta.last_page >= file_size_max / meta.page_size) return error.Corrupt;
    }
    if (first.txn_id == second.txn_id) {
        // Both are alike only in a file that was never committed to.
        if (first.txn_id != 0) return error.Corrupt;
        if (!std.mem.eql(u8, file[16..meta_size], file[first.page_size..][16..meta_size])) {
            return error.Corrupt;
        }
        return .{ .newest = first, .older = second };
    }
    // Transaction N writes meta N % 2, and there is no gap between two transactions.
    const second_newer = second.txn_id > first.txn_id;
    const newest = if (second_newer) second else first;
    const older = if (second_newer) first else second;
    if (newest.txn_id % 2 != @intFromBool(second_newer)) return error.Corrupt;
    if (newest.txn_id - older.txn_id != 1) return error.Corrupt;
    return .{ .newest = newest, .older = older };
}
