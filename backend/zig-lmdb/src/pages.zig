//! How LMDB lays out a page of a tree, and whether one is whole: bounds, tiling, key order.

const std = @import("std");
const assert = std.debug.assert;
const hashtable = @import("hashtable.zig");

const Error = error{Corrupt};

/// LMDB's own limit: offsets inside a page are 16 bits.
pub const size_max: u32 = 32768;
pub const header_size: u32 = 16;
const node_header_size: u32 = 8;

pub const branch: u16 = 0x01;
pub const leaf: u16 = 0x02;
pub const overflow: u16 = 0x04;
pub const node_big: u16 = 0x01;
pub const node_db: u16 = 0x02;

/// What a tree holds. Only the free list has integers as keys.
pub const Kind = enum { free, main, table, state };
pub const Bounds = struct { low: ?[]const u8 = null, high: ?[]const u8 = null };

pub const Page = struct {
    bytes: []const u8,
    flags: u16,
    nodes: u32,

    fn offset(page: Page, index: u32) u32 {
        return read_int(u16, page.bytes, header_size + 2 * index);
    }

    pub fn node(page: Page, index: u32) Node {
        const at = page.offset(index);
        return .{
            .low = read_int(u32, page.bytes, at),
            .flags = read_int(u16, page.bytes, at + 4),
            .key = page.bytes[at + node_header_size ..][0..read_int(u16, page.bytes, at + 6)],
            .rest = page.bytes[at + node_header_size + read_int(u16, page.bytes, at + 6) ..],
        };
    }
};

pub const Node = struct {
    low: u32,
    flags: u16,
    key: []const u8,
    rest: []const u8,

    pub fn child(node: Node) u64 {
        return node.low | @as(u64, node.flags) << 32;
    }
};

/// The nodes must fill the upper part of the page exactly, without a gap and without an overlap:
/// then no offset and no size in the page is wrong.
pub fn check_tiling(page: Page) Error!void {
    const page_size: u32 = @intCast(page.bytes.len);
    const upper = read_int(u16, page.bytes, 14);
    var used: [size_max / 2 / 64]u64 = undefined;
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
    if (page.flags == branch) {
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
pub fn check_order(kind: Kind, page: Page, bounds: Bounds) Error!void {
    var previous: ?[]const u8 = bounds.low;
    const first: u32 = if (page.flags == branch) 1 else 0;
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

pub fn read_int(comptime T: type, bytes: []const u8, offset: usize) T {
    assert(offset + @sizeOf(T) <= bytes.len);
    return std.mem.readInt(T, bytes[offset..][0..@sizeOf(T)], .little);
}
