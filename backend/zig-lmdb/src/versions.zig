//! Where versions are from: the store's own row of state, which holds the last one given out.

const std = @import("std");
const assert = std.debug.assert;
const check = @import("check.zig");
const errors = @import("errors.zig");
const ffi = @import("lmdb_ffi.zig");
const hashtable = @import("hashtable.zig");
const store_zig = @import("store.zig");

const Error = errors.Error;
const Hot = hashtable.Table(ffi.Rows);
const Store = store_zig.Store;

/// A version is `group << 12 | index in the batch`; groups are milliseconds since 2026 or, when
/// those do not grow, the last group plus one. So versions never go back, not even in a restored
/// copy, as long as the clock is right or the copy is the newest.
pub const index_bits = 12;
const group_max: u64 = (1 << 41) - 1;
const epoch_ms: i64 = 1_767_225_600_000;
/// A clock beyond 2060 is wrong and not followed.
const clock_group_max: u64 = 1 << 40;

/// The value of the state row: what tells a file of ours from another's.
pub const state_value = "informania hot store 1";

comptime {
    assert(group_max << index_bits <= hashtable.version_max);
}

/// The table of our own state.
pub fn state_rows(store: *const Store, txn: *ffi.Txn) ffi.Rows {
    const seed = comptime hashtable.seed_of(check.state_table);
    return .{ .txn = txn, .dbi = store.meta_dbi, .seed = seed };
}

/// The state row's version is the last group that was given out.
pub fn next_group(state: ffi.Rows, now: i64) Error!u64 {
    const last = try Hot.get(state, check.state_key, 0) orelse return error.Corrupt;
    const clock: u64 = if (now > epoch_ms) @intCast(now - epoch_ms) else 0;
    const floor = if (clock < clock_group_max) clock else 0;
    const group = @max((last.version >> index_bits) + 1, floor);
    assert(group >= 1);
    if (group > group_max) return error.VersionsExhausted;
    return group;
}

pub fn state_write(state: ffi.Rows, group: u64) Error!void {
    assert(group >= 1 and group <= group_max);
    const outcome = try Hot.put(state, check.state_key, .{
        .version = group << index_bits,
        .expires_ms = 0,
        .value = state_value,
    }, hashtable.version_any, 0);
    assert(outcome.done);
}
