//! Proves a file whole before LMDB reads it: LMDB 0.9 trusts what it maps, and a flipped bit in a
//! page would crash the process or hide rows. Every page of the newest snapshot is visited once:
//! headers, node bounds, key order, counts, the free list, and the checksum of every row.
//!
//! Run it under the write lock, so that the snapshot stands still. It reads the map, but no
//! further than the file reaches.

const std = @import("std");
const assert = std.debug.assert;
const hashtable = @import("hashtable.zig");

pub const Error = error{ Corrupt, NotOurs };

/// LMDB's own limit: offsets inside a page are 16 bits.
pub const page_size_max: u32 = 32768;
/// No file of ours comes near; what claims to be larger is damaged.
const file_size_max: u64 = 1 << 46;
/// The file may end before the last page when the free list names the pages between; one
/// transaction leaves no more of them than LMDB lets it touch.
const pages_beyond_end_max: u64 = 1 << 18;
const page_header_size: u32 = 16;
const node_header_size: u32 = 8;
const meta_size: u32 = page_header_size + 136;
const db_size: u32 = 48;
const depth_max: u32 = 32;
const page_none: u64 = std.math.maxInt(u64);
const magic: u32 = 0xBEEFC0DE;

/// The table of the store's own state, and its only row: the row's version grows with every commit
/// of ours, so it tells which of two snapshots is the newer even when a meta does not.
pub const state_table = "__meta";
pub const state_key = "state";

const page_branch: u16 = 0x01;
const page_leaf: u16 = 0x02;
const page_overflow: u16 = 0x04;
const page_meta: u16 = 0x08;
const node_big: u16 = 0x01;
const node_db: u16 = 0x02;
const flag_integer_key: u16 = 0x08;

/// What LMDB knows of one tree (MDB_db).
const Db = struct {
    pad: u32,
    flags: u16,
    depth: u16,
    branch_pages: u64,
    leaf_pages: u64,
    overflow_pages: u64,
    entries: u64,
    root: u64,

    fn read(bytes: []const u8) Db {
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
        if (meta.page_size < 512 or meta.page_size > page_size_max) return error.Corrupt;
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

pub const Report = struct { rows: u64 = 0, rows_damaged: u64 = 0, state_version: u64 = 0 };

/// Walks the newest snapshot. Rows that fail their checksum are counted, anything else that does
/// not fit is an error. `file` is the mapped file, cut at its real end.
///
/// Of the older snapshot, which LMDB keeps whole for a crash, only the state is looked at: a
/// damaged transaction id would otherwise bring it back in the place of the newest.
pub fn whole_file(file: []const u8, allocator: std.mem.Allocator) !Report {
    const metas = try read_metas(file);
    const older = try snapshot(file, metas.older, true, allocator);
    const newest = try snapshot(file, metas.newest, false, allocator);
    if (newest.state_version < older.state_version) return error.Corrupt;
    return newest;
}

fn snapshot(
    file: []const u8,
    meta: Meta,
    state_only: bool,
    allocator: std.mem.Allocator,
) !Report {
    assert(meta.last_page >= 1);
    const pages_in_file = file.len / meta.page_size;
    if (meta.last_page > pages_in_file + pages_beyond_end_max) return error.Corrupt;
    const words = try allocator.alloc(u64, @intCast(meta.last_page / 64 + 1));
    defer allocator.free(words);
    @memset(words, 0);
    var walk: Walk = .{ .file = file, .meta = meta, .state_only = state_only, .seen = words };
    walk.mark(0, 2) catch unreachable; // the two metas, and last_page is at least 1
    try walk.tree(.main, meta.main);
    if (state_only) return walk.report;
    try walk.tree(.free, meta.free);
    if (meta.last_page > @max(walk.page_highest, pages_in_file -| 1)) return error.Corrupt;
    return walk.report;
}

const Kind = enum { free, main, table, state };
const Bounds = struct { low: ?[]const u8 = null, high: ?[]const u8 = null };
const Counts = struct { branch: u64 = 0, leaf: u64 = 0, overflow: u64 = 0, entries: u64 = 0 };

const Page = struct {
    bytes: []const u8,
    flags: u16,
    nodes: u32,

    fn offset(page: Page, index: u32) u32 {
        return read_int(u16, page.bytes, page_header_size + 2 * index);
    }

    fn node(page: Page, index: u32) Node {
        const at = page.offset(index);
        return .{
            .low = read_int(u32, page.bytes, at),
            .flags = read_int(u16, page.bytes, at + 4),
            .key = page.bytes[at + node_header_size ..][0..read_int(u16, page.bytes, at + 6)],
            .rest = page.bytes[at + node_header_size + read_int(u16, page.bytes, at + 6) ..],
        };
    }
};

const Node = struct {
    low: u32,
    flags: u16,
    key: []const u8,
    rest: []const u8,

    fn child(node: Node) u64 {
        return node.low | @as(u64, node.flags) << 32;
    }
};

const Walk = struct {
    file: []const u8,
    meta: Meta,
    state_only: bool,
    seen: []u64,
    page_highest: u64 = 1,
    /// Of the table that is walked.
    seed: u64 = 0,
    report: Report = .{},

    fn tree(walk: *Walk, kind: Kind, db: Db) Error!void {
        if (kind != .free and (db.flags != 0 or db.pad != 0)) return error.Corrupt;
        var counts: Counts = .{};
        if (db.root == page_none) {
            if (db.depth != 0) return error.Corrupt;
        } else {
            if (db.depth == 0 or db.depth > depth_max) return error.Corrupt;
            try walk.visit(kind, db.root, db.depth, .{}, &counts);
        }
        if (counts.branch != db.branch_pages) return error.Corrupt;
        if (counts.leaf != db.leaf_pages) return error.Corrupt;
        if (counts.overflow != db.overflow_pages) return error.Corrupt;
        if (counts.entries != db.entries) return error.Corrupt;
    }

    /// Recursion is bounded by `depth`, which is at most `depth_max`.
    fn visit(
        walk: *Walk,
        kind: Kind,
        number: u64,
        depth: u32,
        bounds: Bounds,
        counts: *Counts,
    ) Error!void {
        assert(depth >= 1 and depth <= depth_max);
        const page = try walk.page_of(number, if (depth == 1) page_leaf else page_branch);
        try check_tiling(page);
        try check_order(kind, page, bounds);
        if (depth == 1) {
            counts.leaf += 1;
            counts.entries += page.nodes;
            for (0..page.nodes) |index| try walk.leaf(kind, page.node(@intCast(index)), counts);
            return;
        }
        counts.branch += 1;
        if (page.nodes < 2) return error.Corrupt;
        for (0..page.nodes) |at| {
            const index: u32 = @intCast(at);
            const node = page.node(index);
            const last = index + 1 == page.nodes;
            try walk.visit(kind, node.child(), depth - 1, .{
                .low = if (index == 0) bounds.low else node.key,
                .high = if (last) bounds.high else page.node(index + 1).key,
            }, counts);
        }
    }

    fn leaf(walk: *Walk, kind: Kind, node: Node, counts: *Counts) Error!void {
        if (kind != .main and node.flags & node_db != 0) return error.Corrupt;
        const data = if (node.flags & node_big == 0)
            node.rest[0..node.low]
        else
            try walk.overflow(read_int(u64, node.rest, 0), node.low, counts);
        switch (kind) {
            .free => try walk.free_list(node.key, data),
            .main => {
                if (node.flags != node_db) return error.NotOurs;
                if (data.len != db_size) return error.Corrupt;
                const is_state = std.mem.eql(u8, node.key, state_table);
                if (walk.state_only and !is_state) return;
                walk.seed = hashtable.seed_of(node.key);
                try walk.tree(if (is_state) .state else .table, Db.read(data));
            },
            .state => {
                const entry = try hashtable.decode(walk.seed, node.key, data);
                if (std.mem.eql(u8, node.key, state_key)) walk.report.state_version = entry.version;
            },
            .table => {
                walk.report.rows += 1;
                _ = hashtable.decode(walk.seed, node.key, data) catch {
                    walk.report.rows_damaged += 1;
                };
            },
        }
    }

    fn free_list(walk: *Walk, key: []const u8, data: []const u8) Error!void {
        if (read_int(u64, key, 0) > walk.meta.txn_id) return error.Corrupt;
        if (data.len < 8 or data.len % 8 != 0) return error.Corrupt;
        const count = read_int(u64, data, 0);
        if (count > data.len / 8 - 1) return error.Corrupt;
        var previous: u64 = page_none;
        for (1..@as(usize, @intCast(count)) + 1) |index| {
            const number = read_int(u64, data, 8 * index);
            if (number >= previous) return error.Corrupt; // kept in falling order
            previous = number;
            try walk.mark(number, 1);
        }
    }

    fn overflow(walk: *Walk, number: u64, size: u32, counts: *Counts) Error![]const u8 {
        if (number > walk.meta.last_page) return error.Corrupt;
        const page_size = walk.meta.page_size;
        const start = number * page_size;
        if (start + page_header_size > walk.file.len) return error.Corrupt;
        const header = walk.file[@intCast(start)..][0..page_header_size];
        if (read_int(u64, header, 0) != number) return error.Corrupt;
        if (read_int(u16, header, 10) != page_overflow) return error.Corrupt;
        // More pages than the value needs: a larger value stood there earlier in the transaction.
        const pages: u64 = read_int(u32, header, 12);
        if (pages < (page_header_size - 1 + @as(u64, size)) / page_size + 1) return error.Corrupt;
        try walk.mark(number, pages);
        if (start + pages * page_size > walk.file.len) return error.Corrupt;
        counts.overflow += pages;
        return walk.file[@intCast(start + page_header_size)..][0..size];
    }

    fn page_of(walk: *Walk, number: u64, flags: u16) Error!Page {
        try walk.mark(number, 1); // so it is not beyond the last page
        const page_size = walk.meta.page_size;
        const start = number * page_size;
        if (start + page_size > walk.file.len) return error.Corrupt;
        const bytes = walk.file[@intCast(start)..][0..page_size];
        if (read_int(u64, bytes, 0) != number) return error.Corrupt;
        if (read_int(u16, bytes, 10) != flags) return error.Corrupt;
        const lower = read_int(u16, bytes, 12);
        const upper = read_int(u16, bytes, 14);
        if (lower <= page_header_size or lower % 2 != 0) return error.Corrupt;
        if (lower > upper or upper > page_size) return error.Corrupt;
        return .{ .bytes = bytes, .flags = flags, .nodes = (lower - page_header_size) / 2 };
    }

    /// Takes pages for one use; a second use of any is damage.
    fn mark(walk: *Walk, number: u64, count: u64) Error!void {
        assert(count >= 1);
        const last_page = walk.meta.last_page;
        if (number > last_page or count > last_page - number + 1) return error.Corrupt;
        for (@as(usize, @intCast(number))..@as(usize, @intCast(number + count))) |page| {
            const bit = @as(u64, 1) << @intCast(page % 64);
            if (walk.seen[page / 64] & bit != 0) return error.Corrupt;
            walk.seen[page / 64] |= bit;
        }
        walk.page_highest = @max(walk.page_highest, number + count - 1);
    }
};

/// The nodes must fill the upper part of the page exactly, without a gap and without an overlap:
/// then no offset and no size in the page is wrong.
fn check_tiling(page: Page) Error!void {
    const page_size: u32 = @intCast(page.bytes.len);
    const upper = read_int(u16, page.bytes, 14);
    var used: [page_size_max / 2 / 64]u64 = undefined;
    @memset(used[0 .. page_size / 2 / 64], 0);
    var total: u32 = 0;
    for (0..page.nodes) |at| {
        const offset = page.offset(@intCast(at));
        if (offset < upper or offset % 2 != 0) return error.Corrupt;
        if (offset + node_header_size > page_size) return error.Corrupt;
        const size = try node_size(page, offset);
        if (size > page_size - offset) return error.Corrupt;
        total += size;
        if (total > page_size) return error.Corrupt;
        for (offset / 2..(offset + size) / 2) |unit| {
            const bit = @as(u64, 1) << @intCast(unit % 64);
            if (used[unit / 64] & bit != 0) return error.Corrupt;
            used[unit / 64] |= bit;
        }
    }
    if (total != page_size - upper) return error.Corrupt;
}

fn node_size(page: Page, offset: u32) Error!u32 {
    const key_size: u32 = read_int(u16, page.bytes, offset + 6);
    if (key_size > hashtable.key_size_max) return error.Corrupt;
    if (page.flags == page_branch) {
        return std.mem.alignForward(u32, node_header_size + key_size, 2);
    }
    const flags = read_int(u16, page.bytes, offset + 4);
    if (key_size == 0 or flags & ~(node_big | node_db) != 0) return error.Corrupt;
    const data_size = read_int(u32, page.bytes, offset);
    if (flags & node_big != 0) {
        if (data_size > std.math.maxInt(u32) / 2) return error.Corrupt;
        return std.mem.alignForward(u32, node_header_size + key_size + 8, 2);
    }
    if (data_size > page.bytes.len) return error.Corrupt;
    return std.mem.alignForward(u32, node_header_size + key_size + data_size, 2);
}

/// Keys rise, and stay between the separators above them. The first key of a branch says nothing.
fn check_order(kind: Kind, page: Page, bounds: Bounds) Error!void {
    var previous: ?[]const u8 = bounds.low;
    const first: u32 = if (page.flags == page_branch) 1 else 0;
    for (first..page.nodes) |at| {
        const key = page.node(@intCast(at)).key;
        if (kind == .free and key.len != 8) return error.Corrupt;
        if (key.len == 0) return error.Corrupt;
        if (previous) |low| {
            const order = compare(kind, low, key);
            if (order == .gt) return error.Corrupt;
            // Only a separator from above may be equal to the first key.
            if (order == .eq and at != first) return error.Corrupt;
        }
        if (bounds.high) |high| {
            if (compare(kind, key, high) != .lt) return error.Corrupt;
        }
        previous = key;
    }
}

fn compare(kind: Kind, a: []const u8, b: []const u8) std.math.Order {
    if (kind != .free) return std.mem.order(u8, a, b);
    return std.math.order(read_int(u64, a, 0), read_int(u64, b, 0));
}

fn read_int(comptime T: type, bytes: []const u8, offset: usize) T {
    assert(offset + @sizeOf(T) <= bytes.len);
    return std.mem.readInt(T, bytes[offset..][0..@sizeOf(T)], .little);
}
