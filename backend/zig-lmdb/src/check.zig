//! Proves a file whole before LMDB reads it: LMDB 0.9 trusts what it maps, and a flipped bit in a
//! page would crash the process or hide rows. Every page of the newest snapshot is visited once:
//! headers, node bounds, key order, counts, the free list, and the checksum of every row.
//!
//! Run it under the write lock, so that the snapshot stands still. It reads the map, but no
//! further than the file reaches.

const std = @import("std");
const assert = std.debug.assert;
const hashtable = @import("hashtable.zig");
const metas = @import("metas.zig");
const pages = @import("pages.zig");
const read_int = pages.read_int;

const Error = metas.Error;

/// The file may end before the last page when the free list names the pages between; one
/// transaction leaves no more of them than LMDB lets it touch.
const pages_beyond_end_max: u64 = 1 << 18;
const depth_max: u32 = 32;
const page_none: u64 = std.math.maxInt(u64);

/// The table of the store's own state, and its only row: the row's version grows with every commit
/// of ours, so it tells which of two snapshots is the newer even when a meta does not.
pub const state_table = "__meta";
pub const state_key = "state";

pub const Report = struct { rows: u64 = 0, rows_damaged: u64 = 0, state_version: u64 = 0 };

/// Walks the newest snapshot. Rows that fail their checksum are counted, anything else that does
/// not fit is an error. `file` is the mapped file, cut at its real end.
///
/// Of the older snapshot, which LMDB keeps whole for a crash, only the state is looked at: a
/// damaged transaction id would otherwise bring it back in the place of the newest.
pub fn whole_file(file: []const u8, allocator: std.mem.Allocator) !Report {
    const both = try metas.read_metas(file);
    const older = try snapshot(file, both.older, true, allocator);
    const newest = try snapshot(file, both.newest, false, allocator);
    if (newest.state_version < older.state_version) return error.Corrupt;
    return newest;
}

fn snapshot(
    file: []const u8,
    meta: metas.Meta,
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

const Counts = struct { branch: u64 = 0, leaf: u64 = 0, overflow: u64 = 0, entries: u64 = 0 };

const Walk = struct {
    file: []const u8,
    meta: metas.Meta,
    state_only: bool,
    seen: []u64,
    page_highest: u64 = 1,
    /// Of the table that is walked.
    seed: u64 = 0,
    report: Report = .{},

    fn tree(walk: *Walk, kind: pages.Kind, db: metas.Db) Error!void {
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
        kind: pages.Kind,
        number: u64,
        depth: u32,
        bounds: pages.Bounds,
        counts: *Counts,
    ) Error!void {
        assert(depth >= 1 and depth <= depth_max);
        const page = try walk.page_of(number, if (depth == 1) pages.leaf else pages.branch);
        try pages.check_tiling(page);
        try pages.check_order(kind, page, bounds);
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

    fn leaf(walk: *Walk, kind: pages.Kind, node: pages.Node, counts: *Counts) Error!void {
        if (kind != .main and node.flags & pages.node_db != 0) return error.Corrupt;
        const data = if (node.flags & pages.node_big == 0)
            node.rest[0..node.low]
        else
            try walk.overflow(read_int(u64, node.rest, 0), node.low, counts);
        switch (kind) {
            .free => try walk.free_list(node.key, data),
            .main => {
                if (node.flags != pages.node_db) return error.NotOurs;
                if (data.len != metas.db_size) return error.Corrupt;
                const is_state = std.mem.eql(u8, node.key, state_table);
                if (walk.state_only and !is_state) return;
                walk.seed = hashtable.seed_of(node.key);
                try walk.tree(if (is_state) .state else .table, metas.Db.read(data));
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
        if (start + pages.header_size > walk.file.len) return error.Corrupt;
        const header = walk.file[@intCast(start)..][0..pages.header_size];
        if (read_int(u64, header, 0) != number) return error.Corrupt;
        if (read_int(u16, header, 10) != pages.overflow) return error.Corrupt;
        // More pages than the value needs: a larger value stood there earlier in the transaction.
        const count: u64 = read_int(u32, header, 12);
        if (count < (pages.header_size - 1 + @as(u64, size)) / page_size + 1) return error.Corrupt;
        try walk.mark(number, count);
        if (start + count * page_size > walk.file.len) return error.Corrupt;
        counts.overflow += count;
        return walk.file[@intCast(start + pages.header_size)..][0..size];
    }

    fn page_of(walk: *Walk, number: u64, flags: u16) Error!pages.Page {
        try walk.mark(number, 1); // so it is not beyond the last page
        const page_size = walk.meta.page_size;
        const start = number * page_size;
        if (start + page_size > walk.file.len) return error.Corrupt;
        const bytes = walk.file[@intCast(start)..][0..page_size];
        if (read_int(u64, bytes, 0) != number) return error.Corrupt;
        if (read_int(u16, bytes, 10) != flags) return error.Corrupt;
        const lower = read_int(u16, bytes, 12);
        const upper = read_int(u16, bytes, 14);
        if (lower <= pages.header_size or lower % 2 != 0) return error.Corrupt;
        if (lower > upper or upper > page_size) return error.Corrupt;
        return .{ .bytes = bytes, .flags = flags, .nodes = (lower - pages.header_size) / 2 };
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
