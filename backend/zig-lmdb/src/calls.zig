//! What each call does inside its one transaction, and what it copies out.
//!
//! A call may run more than once, because `bridge.zig` repeats it when the map was full or moved:
//! it changes nothing outside of its transaction but its own answer.

const std = @import("std");
const assert = std.debug.assert;
const abi = @import("abi.zig");
const errors = @import("errors.zig");
const ffi = @import("lmdb_ffi.zig");
const hashtable = @import("hashtable.zig");
const os = @import("os.zig");
const store_zig = @import("store.zig");
const versions = @import("versions.zig");

const Error = errors.Error;
const Hot = hashtable.Table(ffi.Rows);
const Store = store_zig.Store;

comptime {
    assert(abi.batch_ops_max <= 1 << versions.index_bits);
}

pub fn table_open(store: *Store, name: []const u8, table: *u32) Error!void {
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

pub fn get(store: *Store, table: u32, key: []const u8, value: []u8, meta: *abi.Meta) Error!void {
    const slot = try store.read_begin();
    defer Store.read_end(slot);
    const rows = try store.rows(slot.txn.?, table);
    const entry = try Hot.get(rows, key, os.now_ms()) orelse return error.NotFound;
    meta.* = .{
        .version = entry.version,
        .expires_ms = entry.expires_ms,
        .value_size = entry.value.len,
    };
    if (entry.value.len > value.len) return error.BufferTooSmall;
    @memcpy(value[0..entry.value.len], entry.value);
}

pub const Batch = struct {
    ops: []const abi.Op,
    data: []const u8,
    atomic: bool,
    results: []abi.Result,
};

pub fn apply(store: *Store, batch: Batch) Error!void {
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
    const now = os.now_ms();
    const state = versions.state_rows(store, txn);
    const group = try versions.next_group(state, now);
    var changed = false;
    var failed = false;
    var offset: usize = 0;
    for (batch.ops, batch.results, 0..) |*op, *result, index| {
        const key = batch.data[offset..][0..op.key_size];
        const value = batch.data[offset + op.key_size ..][0..op.value_size];
        offset += key.len + value.len;
        const version = group << versions.index_bits | index;
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
                .status = errors.status_of(error.Aborted),
                .reserved = 0,
                .version = 0,
            };
        }
        return error.Aborted;
    }
    if (changed) try versions.state_write(state, group);
    return changed;
}

const Answer = struct { status: i32 = 0, changed: bool = false, version: u64 = 0 };

/// A failing operation is an answer for its caller; only what spoils the transaction is an error.
fn apply_one(
    rows: ffi.Rows,
    op: *const abi.Op,
    key: []const u8,
    value: []const u8,
    version: u64,
    now: i64,
) Error!Answer {
    if (!hashtable.key_valid(key)) return .{ .status = errors.status_key_invalid };
    if (value.len > hashtable.value_size_max) return .{ .status = errors.status_value_too_large };
    const outcome = switch (op.kind) {
        abi.op_put => Hot.put(rows, key, .{
            .version = version,
            .expires_ms = op.expires_ms,
            .value = value,
        }, op.expected, now),
        abi.op_delete => Hot.remove(rows, key, op.expected, now),
        abi.op_expire => Hot.expire(rows, key, now),
        else => return error.Argument,
    } catch |err| {
        return if (err == error.Corrupt) .{ .status = errors.status_of(error.Corrupt) } else err;
    };
    if (outcome.done) return .{ .changed = outcome.changed, .version = outcome.version };
    // A row that is not over yet is no failure of a sweep.
    if (op.kind == abi.op_expire) return .{};
    return .{ .status = errors.status_conflict, .version = outcome.version };
}

pub const Page = struct { rows: []abi.Row, count: *u32, data: []u8, position: *abi.Position };

pub fn scan(store: *Store, table: u32, prefix: []const u8, page: Page) Error!void {
    const slot = try store.read_begin();
    defer Store.read_end(slot);
    const rows = try store.rows(slot.txn.?, table);
    var after: [hashtable.key_size_max]u8 = undefined;
    const after_size = page.position.key_size;
    @memcpy(after[0..after_size], page.position.key[0..after_size]);
    var iterator = try Hot.scan(rows, prefix, after[0..after_size]);
    defer iterator.close();
    const now = os.now_ms();
    var position: abi.Position = page.position.*;
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

fn scan_row_copy(row: Hot.Row, place: []u8) abi.Row {
    assert(place.len == scan_row_size(row));
    const key = row.key_of();
    @memcpy(place[0..key.len], key);
    var out = std.mem.zeroes(abi.Row);
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

pub fn stats_read(store: *Store, table: u32, stats: *abi.Stats) Error!void {
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

pub fn reader_check(store: *Store, dead: *u32) Error!void {
    var count: c_int = 0;
    try ffi.check(ffi.mdb_reader_check(store.env.?, &count));
    assert(count >= 0);
    dead.* = @intCast(count);
}

pub fn sync(store: *Store) Error!void {
    try ffi.check(ffi.mdb_env_sync(store.env.?, 1));
}

/// Follows a map that another process made larger, before a copy begins.
pub fn read_probe(store: *Store) Error!void {
    Store.read_end(try store.read_begin());
}

pub fn backup(handle: u64, path: [*:0]const u8) Error!void {
    const store = try Store.find(handle);
    // First the mutex, then the gate: whoever moves the map takes them in this order too.
    store.resize_mutex.lock();
    defer store.resize_mutex.unlock();
    _ = try Store.enter(handle);
    defer store.leave();
    try ffi.check(ffi.mdb_env_copy2(store.env.?, path, ffi.copy_compact));
}
