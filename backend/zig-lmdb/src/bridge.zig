//! The C ABI of include/lmdb.h over store.zig.
//!
//! Every call begins and ends its own transaction here and copies values out: no reader lives
//! long, and nothing of the map is held outside. A call that meets a full or moved map grows or
//! follows it and runs again; that is one helper, `guarded`, for every path.

const std = @import("std");
const builtin = @import("builtin");
const assert = std.debug.assert;
pub const check = @import("check.zig");
pub const ffi = @import("lmdb_ffi.zig");
pub const hashtable = @import("hashtable.zig");
pub const store_zig = @import("store.zig");

const Hot = hashtable.Table(ffi.Rows);
const Error = store_zig.Error;
const Store = store_zig.Store;
const explain = store_zig.explain;
const now_ms = store_zig.now_ms;

const zig_version = "0.17.1";

comptime {
    if (!std.mem.eql(u8, builtin.zig_version_string, zig_version)) {
        @compileError("needs Zig " ++ zig_version ++ ", this is " ++ builtin.zig_version_string);
    }
}

const abi_version: u32 = 1;
const batch_ops_max: u32 = 4096;
const batch_bytes_max: u64 = 64 << 20;
const map_size_min: u64 = 64 << 10;
const map_size_limit: u64 = 1 << 40;
/// 1 MiB doubled twenty times is the limit; more attempts mean that something else is wrong.
const attempts_max: u32 = 48;

comptime {
    assert(batch_ops_max <= 1 << store_zig.version_index_bits);
    assert(builtin.cpu.arch.endian() == .little);
}

pub const Options = extern struct {
    map_size: u64,
    map_size_max: u64,
    readers_max: u32,
    flags: u32,
};
pub const Meta = extern struct { version: u64, expires_ms: i64, value_size: u64 };
pub const Op = extern struct {
    kind: u32,
    table: u32,
    key_size: u32,
    value_size: u32,
    expected: u64,
    expires_ms: i64,
};
pub const Result = extern struct { status: i32, reserved: u32, version: u64 };
pub const Row = extern struct {
    state: u32,
    key_size: u32,
    value_size: u32,
    reserved: u32,
    version: u64,
    expires_ms: i64,
};
pub const Position = extern struct { more: u32, key_size: u32, key: [512]u8 };
pub const Stats = extern struct {
    entries: u64,
    depth: u64,
    pages: u64,
    page_size: u64,
    map_size: u64,
    map_size_max: u64,
    map_used: u64,
    grows: u64,
    txn_id: u64,
    readers: u64,
    readers_max: u64,
    rows_damaged: u64,
};

const struct_sizes = [_]u32{ 24, 24, 32, 16, 32, 520, 96 };
comptime {
    const types = [_]type{ Options, Meta, Op, Result, Row, Position, Stats };
    assert(types.len == struct_sizes.len);
    for (types, struct_sizes) |T, size| assert(@sizeOf(T) == size);
}

const flag_nosync: u32 = 1;
const flag_nometasync: u32 = 2;
const flag_salvage: u32 = 4;
const flag_atomic: u32 = 1;
const op_put: u32 = 1;
const op_delete: u32 = 2;
const op_expire: u32 = 3;

const status_conflict: i32 = -2;
const status_key_invalid: i32 = -3;
const status_value_too_large: i32 = -4;

fn status_of(err: Error) i32 {
    return switch (err) {
        error.NotFound => -1,
        error.Corrupt => -5,
        error.BufferTooSmall => -6,
        error.MapFull, error.MapResized => -7,
        error.Forked => -8,
        error.Closed => -9,
        error.Argument => -10,
        error.Aborted => -11,
        error.Busy => -12,
        error.ReadersFull => -13,
        error.DiskFull => -14,
        error.Io => -15,
        error.Access => -16,
        error.NotOurs => -17,
        error.NoMemory => -18,
        error.Panic => -19,
        error.Internal => -20,
        error.TxnFull => -21,
        error.VersionsExhausted => -22,
        error.Limit => -23,
    };
}

fn text_of(status: i32) [*:0]const u8 {
    return switch (status) {
        0 => "no error",
        -1 => "there is no such row",
        -2 => "the row is not in the expected version",
        -3 => "a key has 1 to 511 bytes",
        -4 => "a value has at most 1 MiB",
        -5 => "the file is damaged: restore a backup, or remove the folder to start anew",
        -6 => "the buffer is too small for the value",
        -7 => "the map is full and may not grow any more: raise map_size_max or delete rows",
        -8 => "the store was opened before a fork: open it again in the child",
        -9 => "the store is closed",
        -10 => "an argument is out of range",
        -11 => "nothing was written, because another operation of the group failed",
        -12 => "this process has the folder open already",
        -13 => "all reader slots are taken: run a reader check or raise readers_max",
        -14 => "the disk is full",
        -15 => "reading or writing the file failed, perhaps because the disk is full",
        -16 => "the folder is missing or its permissions do not allow it",
        -17 => "the file is not one of ours, or from another version",
        -18 => "out of memory, or of file descriptors",
        -19 => "an earlier failure left the store unusable: close and open it again",
        -20 => "LMDB refused in a way that is not expected",
        -21 => "the group touches too many pages: make it smaller",
        -22 => "no version is left; the clock was far in the future",
        -23 => "the limit of stores or tables is reached",
        else => "unknown code",
    };
}

threadlocal var last_text: [*:0]const u8 = "no error";

fn fail(err: Error) i32 {
    const status = status_of(err);
    assert(status < 0);
    last_text = store_zig.explanation orelse text_of(status);
    store_zig.explanation = null;
    return status;
}

/// Runs `body` inside the gate; grows or follows the map and repeats it as often as needed.
/// Bodies change nothing outside of their transaction but their own answer, so that is safe.
fn guarded(handle: u64, comptime body: anytype, args: anytype) i32 {
    for (0..attempts_max) |_| {
        const store = Store.enter(handle) catch |err| return fail(err);
        const seen = store.map_size.load(.seq_cst);
        const outcome: Error!void = @call(.auto, body, .{store} ++ args);
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

// ---- bodies of the calls; each may run more than once

fn table_open(store: *Store, name: []const u8, table: *u32) Error!void {
    store.tables_mutex.lock();
    defer store.tables_mutex.unlock();
    const count = store.tables_count.load(.acquire);
    for (store.table_names[0..count], 0..) |*known, index| {
        if (std.mem.eql(u8, known.bytes[0..known.size], name)) {
            table.* = @intCast(index);
            return;
        }
    }
    if (count == store_zig.tables_max) return error.Limit;
    var entry: store_zig.TableName = .{ .size = @intCast(name.len) };
    @memcpy(entry.bytes[0..name.len], name);
    const txn = try store.write_begin();
    const text: [*:0]const u8 = @ptrCast(&entry.bytes);
    ffi.check(ffi.mdb_dbi_open(txn, text, ffi.dbi_create, &store.tables[count])) catch |err| {
        ffi.mdb_txn_abort(txn);
        return err;
    };
    try ffi.check(ffi.mdb_txn_commit(txn));
    store.table_names[count] = entry;
    store.seeds[count] = hashtable.seed_of(name);
    store.tables_count.store(count + 1, .release);
    table.* = count;
}

fn get(store: *Store, table: u32, key: []const u8, value: []u8, meta: *Meta) Error!void {
    const slot = try store.read_begin();
    defer Store.read_end(slot);
    const rows = try store.rows(slot.txn.?, table);
    const entry = try Hot.get(rows, key, now_ms()) orelse return error.NotFound;
    meta.* = .{
        .version = entry.version,
        .expires_ms = entry.expires_ms,
        .value_size = entry.value.len,
    };
    if (entry.value.len > value.len) return error.BufferTooSmall;
    @memcpy(value[0..entry.value.len], entry.value);
}

const Batch = struct { ops: []const Op, data: []const u8, atomic: bool, results: []Result };

fn apply(store: *Store, batch: Batch) Error!void {
    assert(batch.ops.len == batch.results.len);
    const txn = try store.write_begin();
    const changed = apply_in(store, txn, batch) catch |err| {
        ffi.mdb_txn_abort(txn);
        return err;
    };
    if (!changed) return ffi.mdb_txn_abort(txn);
    try ffi.check(ffi.mdb_txn_commit(txn));
}

/// Says whether there is anything to commit.
fn apply_in(store: *Store, txn: *ffi.Txn, batch: Batch) Error!bool {
    const now = now_ms();
    const state = store.state_rows(txn);
    const group = try store_zig.next_group(state, now);
    var changed = false;
    var failed = false;
    var offset: usize = 0;
    for (batch.ops, batch.results, 0..) |*op, *result, index| {
        const key = batch.data[offset..][0..op.key_size];
        const value = batch.data[offset + op.key_size ..][0..op.value_size];
        offset += key.len + value.len;
        const version = group << store_zig.version_index_bits | index;
        const rows = try store.rows(txn, op.table);
        const outcome = try apply_one(rows, op, key, value, version, now);
        result.* = .{ .status = outcome.status, .reserved = 0, .version = outcome.version };
        failed = failed or outcome.status != 0;
        changed = changed or outcome.changed;
    }
    assert(offset == batch.data.len);
    if (failed and batch.atomic) {
        for (batch.results) |*result| {
            if (result.status == 0) result.* = .{
                .status = status_of(error.Aborted),
                .reserved = 0,
                .version = 0,
            };
        }
        return error.Aborted;
    }
    if (changed) try store_zig.state_write(state, group);
    return changed;
}

const Answer = struct { status: i32 = 0, changed: bool = false, version: u64 = 0 };

/// A failing operation is an answer for its caller; only what spoils the transaction is an error.
fn apply_one(
    rows: ffi.Rows,
    op: *const Op,
    key: []const u8,
    value: []const u8,
    version: u64,
    now: i64,
) Error!Answer {
    if (!hashtable.key_valid(key)) return .{ .status = status_key_invalid };
    if (value.len > hashtable.value_size_max) return .{ .status = status_value_too_large };
    const outcome = switch (op.kind) {
        op_put => Hot.put(rows, key, .{
            .version = version,
            .expires_ms = op.expires_ms,
            .value = value,
        }, op.expected, now),
        op_delete => Hot.remove(rows, key, op.expected, now),
        op_expire => Hot.expire(rows, key, now),
        else => return error.Argument,
    } catch |err| {
        return if (err == error.Corrupt) .{ .status = status_of(error.Corrupt) } else err;
    };
    if (outcome.done) return .{ .changed = outcome.changed, .version = outcome.version };
    // A row that is not over yet is no failure of a sweep.
    if (op.kind == op_expire) return .{};
    return .{ .status = status_conflict, .version = outcome.version };
}

const Page = struct { rows: []Row, count: *u32, data: []u8, position: *Position };

fn scan(store: *Store, table: u32, prefix: []const u8, page: Page) Error!void {
    const slot = try store.read_begin();
    defer Store.read_end(slot);
    const rows = try store.rows(slot.txn.?, table);
    var after: [hashtable.key_size_max]u8 = undefined;
    const after_size = page.position.key_size;
    @memcpy(after[0..after_size], page.position.key[0..after_size]);
    var iterator = try Hot.scan(rows, prefix, after[0..after_size]);
    defer iterator.close();
    const now = now_ms();
    var position: Position = page.position.*;
    position.more = 0;
    var count: u32 = 0;
    var used: usize = 0;
    while (try iterator.next(now)) |row| {
        const size = scan_row_size(row);
        if (count == page.rows.len or size > page.data.len - used) {
            if (count == 0) return error.BufferTooSmall;
            position.more = 1;
            break;
        }
        page.rows[count] = scan_row_copy(row, page.data[used..][0..size]);
        const key = row.key_of();
        position.key_size = @intCast(key.len);
        @memcpy(position.key[0..key.len], key);
        used += size;
        count += 1;
    }
    page.count.* = count;
    page.position.* = position;
}

fn scan_row_size(row: Hot.Row) usize {
    return switch (row) {
        .live => |live| live.key.len + live.entry.value.len,
        .expired, .damaged => |key| key.len,
    };
}

fn scan_row_copy(row: Hot.Row, place: []u8) Row {
    assert(place.len == scan_row_size(row));
    const key = row.key_of();
    @memcpy(place[0..key.len], key);
    var out = std.mem.zeroes(Row);
    out.key_size = @intCast(key.len);
    switch (row) {
        .live => |live| {
            @memcpy(place[key.len..], live.entry.value);
            out.value_size = @intCast(live.entry.value.len);
            out.version = live.entry.version;
            out.expires_ms = live.entry.expires_ms;
        },
        .expired => out.state = 1,
        .damaged => out.state = 2,
    }
    return out;
}

fn stats_read(store: *Store, table: u32, stats: *Stats) Error!void {
    const slot = try store.read_begin();
    defer Store.read_end(slot);
    const rows = try store.rows(slot.txn.?, table);
    var stat: ffi.Stat = .{};
    try ffi.check(ffi.mdb_stat(rows.txn, rows.dbi, &stat));
    const env_info = store.info();
    stats.* = .{
        .entries = stat.entries,
        .depth = stat.depth,
        .pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages,
        .page_size = stat.page_size,
        .map_size = env_info.map_size,
        .map_size_max = store.map_size_max,
        .map_used = (env_info.last_page + 1) * stat.page_size,
        .grows = store.grows.load(.seq_cst),
        .txn_id = env_info.last_txn_id,
        .readers = env_info.readers,
        .readers_max = env_info.readers_max,
        .rows_damaged = store.rows_damaged,
    };
}

fn reader_check(store: *Store, dead: *u32) Error!void {
    var count: c_int = 0;
    try ffi.check(ffi.mdb_reader_check(store.env.?, &count));
    assert(count >= 0);
    dead.* = @intCast(count);
}

fn sync(store: *Store) Error!void {
    try ffi.check(ffi.mdb_env_sync(store.env.?, 1));
}

/// Follows a map that another process made larger, before a copy begins.
fn read_probe(store: *Store) Error!void {
    Store.read_end(try store.read_begin());
}

fn backup(handle: u64, path: [*:0]const u8) Error!void {
    const store = try Store.find(handle);
    // First the mutex, then the gate: whoever moves the map takes them in this order too.
    store.resize_mutex.lock();
    defer store.resize_mutex.unlock();
    _ = try Store.enter(handle);
    defer store.leave();
    try ffi.check(ffi.mdb_env_copy2(store.env.?, path, ffi.copy_compact));
}

// ---- the C ABI: arguments are checked here, and nowhere else

export fn zl_abi_version() callconv(.c) u32 {
    return abi_version;
}

export fn zl_lmdb_version() callconv(.c) [*:0]const u8 {
    return ffi.mdb_version(null, null, null);
}

export fn zl_strerror(code: i32) callconv(.c) [*:0]const u8 {
    return text_of(code);
}

export fn zl_last_error() callconv(.c) [*:0]const u8 {
    return last_text;
}

export fn zl_struct_size(index: u32) callconv(.c) u32 {
    return if (index < struct_sizes.len) struct_sizes[index] else 0;
}

export fn zl_open(path: ?[*:0]const u8, options: ?*const Options, out: ?*u64) callconv(.c) i32 {
    const given = options orelse return fail(error.Argument);
    const handle = out orelse return fail(error.Argument);
    handle.* = 0;
    if (path == null) return fail(error.Argument);
    if (given.map_size < map_size_min or given.map_size > given.map_size_max or
        given.map_size_max > map_size_limit or given.readers_max < 1 or
        given.readers_max > 4096 or given.flags > 7)
    {
        explain("map_size is 64 KiB to map_size_max (at most 1 TiB), readers_max 1 to 4096", .{});
        return fail(error.Argument);
    }
    handle.* = store_zig.open(path.?, .{
        .map_size = given.map_size,
        .map_size_max = given.map_size_max,
        .readers_max = given.readers_max,
        .nosync = given.flags & flag_nosync != 0,
        .nometasync = given.flags & flag_nometasync != 0,
        .salvage = given.flags & flag_salvage != 0,
    }) catch |err| return fail(err);
    assert(handle.* != 0);
    return 0;
}

export fn zl_close(handle: u64) callconv(.c) i32 {
    store_zig.close(handle) catch |err| return fail(err);
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
    return guarded(handle, table_open, .{ @as([]const u8, text), table });
}

export fn zl_get(
    handle: u64,
    table: u32,
    key: ?[*]const u8,
    key_size: u32,
    value: ?[*]u8,
    capacity: u64,
    meta: ?*Meta,
) callconv(.c) i32 {
    const out = meta orelse return fail(error.Argument);
    const place = bytes_out(value, capacity) orelse return fail(error.Argument);
    const name = bytes_in(key, key_size) orelse return fail(error.Argument);
    if (!hashtable.key_valid(name)) {
        last_text = text_of(status_key_invalid);
        return status_key_invalid;
    }
    return guarded(handle, get, .{ table, name, place, out });
}

export fn zl_apply(
    handle: u64,
    ops: ?[*]const Op,
    count: u32,
    data: ?[*]const u8,
    data_size: u64,
    flags: u32,
    results: ?[*]Result,
) callconv(.c) i32 {
    if (ops == null or results == null or flags > flag_atomic) return fail(error.Argument);
    const bytes = bytes_in(data, data_size) orelse return fail(error.Argument);
    if (count < 1 or count > batch_ops_max or data_size > batch_bytes_max) {
        explain("a group has 1 to 4096 operations and at most 64 MiB", .{});
        return fail(error.Argument);
    }
    var total: u64 = 0;
    for (ops.?[0..count]) |op| {
        total += @as(u64, op.key_size) + op.value_size;
        if (op.kind < op_put or op.kind > op_expire or op.expires_ms < 0 or
            (op.kind != op_put and op.value_size != 0))
        {
            return fail(error.Argument);
        }
    }
    if (total != data_size) {
        explain("the sizes of keys and values do not add up to data_size", .{});
        return fail(error.Argument);
    }
    return guarded(handle, apply, .{Batch{
        .ops = ops.?[0..count],
        .data = bytes,
        .atomic = flags & flag_atomic != 0,
        .results = results.?[0..count],
    }});
}

export fn zl_scan(
    handle: u64,
    table: u32,
    prefix: ?[*]const u8,
    prefix_size: u32,
    rows: ?[*]Row,
    rows_max: u32,
    rows_count: ?*u32,
    data: ?[*]u8,
    capacity: u64,
    position: ?*Position,
) callconv(.c) i32 {
    if (rows == null or rows_count == null or position == null) return fail(error.Argument);
    const place = bytes_out(data, capacity) orelse return fail(error.Argument);
    const begin = bytes_in(prefix, prefix_size) orelse return fail(error.Argument);
    rows_count.?.* = 0;
    if (rows_max < 1 or prefix_size > hashtable.key_size_max or
        position.?.key_size > hashtable.key_size_max) return fail(error.Argument);
    return guarded(handle, scan, .{ table, begin, Page{
        .rows = rows.?[0..rows_max],
        .count = rows_count.?,
        .data = place,
        .position = position.?,
    } });
}

export fn zl_stats_read(handle: u64, table: u32, stats: ?*Stats) callconv(.c) i32 {
    const out = stats orelse return fail(error.Argument);
    return guarded(handle, stats_read, .{ table, out });
}

export fn zl_reader_check(handle: u64, dead: ?*u32) callconv(.c) i32 {
    const out = dead orelse return fail(error.Argument);
    return guarded(handle, reader_check, .{out});
}

export fn zl_sync(handle: u64) callconv(.c) i32 {
    return guarded(handle, sync, .{});
}

export fn zl_backup(handle: u64, path: ?[*:0]const u8) callconv(.c) i32 {
    const folder = path orelse return fail(error.Argument);
    const status = guarded(handle, read_probe, .{});
    if (status != 0) return status;
    backup(handle, folder) catch |err| return fail(err);
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
