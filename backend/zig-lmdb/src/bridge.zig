//! The C ABI of include/lmdb.h: checks the arguments, and turns every call into a transaction.
//!
//! Every call begins and ends its own transaction in calls.zig and copies values out: no reader
//! lives long, and nothing of the map is held outside. A call that meets a full or moved map grows
//! or follows it and runs again; that is one helper, `guarded`, for every path.

const std = @import("std");
const builtin = @import("builtin");
const assert = std.debug.assert;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const errors = @import("errors.zig");
const opening = @import("opening.zig");
const store_zig = @import("store.zig");
pub const ffi = @import("lmdb_ffi.zig");
pub const hashtable = @import("hashtable.zig");
pub const metas = @import("metas.zig");

const Error = errors.Error;
const Store = store_zig.Store;
const explain = errors.explain;
const fail = errors.fail;

const zig_version = "0.17.1";

comptime {
    if (!std.mem.eql(u8, builtin.zig_version_string, zig_version)) {
        @compileError("needs Zig " ++ zig_version ++ ", this is " ++ builtin.zig_version_string);
    }
}

/// 1 MiB doubled twenty times is the limit; more attempts mean that something else is wrong.
const attempts_max: u32 = 48;

/// Runs one of calls.zig inside the gate; grows or follows the map and repeats it as often as
/// needed. They change nothing outside of their transaction but their own answer, so that is safe.
fn guarded(handle: u64, comptime call: anytype, args: anytype) i32 {
    for (0..attempts_max) |_| {
        const store = Store.enter(handle) catch |err| return fail(err);
        const seen = store.map_size.load(.seq_cst);
        const outcome: Error!void = @call(.auto, call, .{store} ++ args);
        store.leave();
        outcome catch |err| switch (err) {
            error.MapFull, error.MapResized => {
                store.resize(handle, seen, err == error.MapFull) catch |e| return fail(e);
                continue;
            },
            else => return fail(err),
        };
        return 0;
    }
    return fail(error.MapFull);
}

// ---- the C ABI: arguments are checked here, and nowhere else

export fn zl_abi_version() callconv(.c) u32 {
    return abi.abi_version;
}

export fn zl_lmdb_version() callconv(.c) [*:0]const u8 {
    return ffi.mdb_version(null, null, null);
}

export fn zl_strerror(code: i32) callconv(.c) [*:0]const u8 {
    return errors.text_of(code);
}

export fn zl_last_error() callconv(.c) [*:0]const u8 {
    return errors.last_text;
}

export fn zl_struct_size(index: u32) callconv(.c) u32 {
    return if (index < abi.struct_sizes.len) abi.struct_sizes[index] else 0;
}

export fn zl_open(path: ?[*:0]const u8, options: ?*const abi.Options, out: ?*u64) callconv(.c) i32 {
    const given = options orelse return fail(error.Argument);
    const handle = out orelse return fail(error.Argument);
    handle.* = 0;
    if (path == null) return fail(error.Argument);
    if (given.map_size < abi.map_size_min or given.map_size > given.map_size_max or
        given.map_size_max > abi.map_size_limit or given.readers_max < 1 or
        given.readers_max > 4096 or given.flags > 7)
    {
        explain("map_size is 64 KiB to map_size_max (at most 1 TiB), readers_max 1 to 4096", .{});
        return fail(error.Argument);
    }
    handle.* = opening.open(path.?, .{
        .map_size = given.map_size,
        .map_size_max = given.map_size_max,
        .readers_max = given.readers_max,
        .nosync = given.flags & abi.flag_nosync != 0,
        .nometasync = given.flags & abi.flag_nometasync != 0,
        .salvage = given.flags & abi.flag_salvage != 0,
    }) catch |err| return fail(err);
    assert(handle.* != 0);
    return 0;
}

export fn zl_close(handle: u64) callconv(.c) i32 {
    opening.close(handle) catch |err| return fail(err);
    return 0;
}

export fn zl_table_open(handle: u64, name: ?[*:0]const u8, out: ?*u32) callconv(.c) i32 {
    const table = out orelse return fail(error.Argument);
    const text = std.mem.span(name orelse return fail(error.Argument));
    var valid = text.len >= 1 and text.len <= store_zig.table_name_max and text[0] != '_';
    for (text) |byte| valid = valid and switch (byte) {
        'a'...'z', '0'...'9', '_' => true,
        else => false,
    };
    if (!valid) {
        explain("a table has 1 to 32 of a-z 0-9 _, and no _ in front", .{});
        return fail(error.Argument);
    }
    return guarded(handle, calls.table_open, .{ @as([]const u8, text), table });
}

export fn zl_get(
    handle: u64,
    table: u32,
    key: ?[*]const u8,
    key_size: u32,
    value: ?[*]u8,
    capacity: u64,
    meta: ?*abi.Meta,
) callconv(.c) i32 {
    const out = meta orelse return fail(error.Argument);
    const place = bytes_out(value, capacity) orelse return fail(error.Argument);
    const name = bytes_in(key, key_size) orelse return fail(error.Argument);
    if (!hashtable.key_valid(name)) {
        errors.last_text = errors.text_of(errors.status_key_invalid);
        return errors.status_key_invalid;
    }
    return guarded(handle, calls.get, .{ table, name, place, out });
}

export fn zl_apply(
    handle: u64,
    ops: ?[*]const abi.Op,
    count: u32,
    data: ?[*]const u8,
    data_size: u64,
    flags: u32,
    results: ?[*]abi.Result,
) callconv(.c) i32 {
    if (ops == null or results == null or flags > abi.flag_atomic) return fail(error.Argument);
    const bytes = bytes_in(data, data_size) orelse return fail(error.Argument);
    if (count < 1 or count > abi.batch_ops_max or data_size > abi.batch_bytes_max) {
        explain("a group has 1 to 4096 operations and at most 64 MiB", .{});
        return fail(error.Argument);
    }
    var total: u64 = 0;
    for (ops.?[0..count]) |op| {
        total += @as(u64, op.key_size) + op.value_size;
        if (op.kind < abi.op_put or op.kind > abi.op_expire or op.expires_ms < 0 or
            (op.kind != abi.op_put and op.value_size != 0))
        {
            return fail(error.Argument);
        }
    }
    if (total != data_size) {
        explain("the sizes of keys and values do not add up to data_size", .{});
        return fail(error.Argument);
    }
    return guarded(handle, calls.apply, .{calls.Batch{
        .ops = ops.?[0..count],
        .data = bytes,
        .atomic = flags & abi.flag_atomic != 0,
        .results = results.?[0..count],
    }});
}

export fn zl_scan(
    handle: u64,
    table: u32,
    prefix: ?[*]const u8,
    prefix_size: u32,
    rows: ?[*]abi.Row,
    rows_max: u32,
    rows_count: ?*u32,
    data: ?[*]u8,
    capacity: u64,
    position: ?*abi.Position,
) callconv(.c) i32 {
    if (rows == null or rows_count == null or position == null) return fail(error.Argument);
    const place = bytes_out(data, capacity) orelse return fail(error.Argument);
    const begin = bytes_in(prefix, prefix_size) orelse return fail(error.Argument);
    rows_count.?.* = 0;
    if (rows_max < 1 or prefix_size > hashtable.key_size_max or
        position.?.key_size > hashtable.key_size_max) return fail(error.Argument);
    return guarded(handle, calls.scan, .{ table, begin, calls.Page{
        .rows = rows.?[0..rows_max],
        .count = rows_count.?,
        .data = place,
        .position = position.?,
    } });
}

export fn zl_stats_read(handle: u64, table: u32, stats: ?*abi.Stats) callconv(.c) i32 {
    const out = stats orelse return fail(error.Argument);
    return guarded(handle, calls.stats_read, .{ table, out });
}

export fn zl_reader_check(handle: u64, dead: ?*u32) callconv(.c) i32 {
    const out = dead orelse return fail(error.Argument);
    return guarded(handle, calls.reader_check, .{out});
}

export fn zl_sync(handle: u64) callconv(.c) i32 {
    return guarded(handle, calls.sync, .{});
}

export fn zl_backup(handle: u64, path: ?[*:0]const u8) callconv(.c) i32 {
    const folder = path orelse return fail(error.Argument);
    const status = guarded(handle, calls.read_probe, .{});
    if (status != 0) return status;
    calls.backup(handle, folder) catch |err| return fail(err);
    return 0;
}

fn bytes_in(pointer: ?[*]const u8, size: u64) ?[]const u8 {
    if (size == 0) return &.{};
    return (pointer orelse return null)[0..size];
}

fn bytes_out(pointer: ?[*]u8, size: u64) ?[]u8 {
    if (size == 0) return &.{};
    return (pointer orelse return null)[0..size];
}
