//! How a folder is opened, proved whole before LMDB may trust it, and closed.

const std = @import("std");
const assert = std.debug.assert;
const check = @import("check.zig");
const errors = @import("errors.zig");
const ffi = @import("lmdb_ffi.zig");
const hashtable = @import("hashtable.zig");
const metas = @import("metas.zig");
const os = @import("os.zig");
const pages = @import("pages.zig");
const store_zig = @import("store.zig");
const versions = @import("versions.zig");

const Error = errors.Error;
const Hot = hashtable.Table(ffi.Rows);
const Store = store_zig.Store;
const explain = errors.explain;

pub const OpenOptions = struct {
    map_size: u64,
    map_size_max: u64,
    readers_max: u32,
    nosync: bool,
    nometasync: bool,
    salvage: bool,
};

/// Held while a store is opened or closed.
var registry: os.Mutex = .{};
var generation: u64 = 0;
var atfork_done: bool = false;

fn after_fork_in_child() callconv(.c) void {
    _ = store_zig.fork_generation.fetchAdd(1, .seq_cst);
    // The thread that may have held it does not exist here.
    registry = .{};
}

pub fn open(path: [*:0]const u8, options: OpenOptions) Error!u64 {
    registry.lock();
    defer registry.unlock();
    if (!atfork_done) {
        if (std.c.pthread_atfork(null, null, after_fork_in_child) != 0) return error.NoMemory;
        atfork_done = true;
    }
    var real: [store_zig.path_size_max]u8 = undefined;
    const resolved = std.c.realpath(path, &real) orelse {
        explain("{s}: no such folder, or not readable", .{short(path)});
        return error.Access;
    };
    const store = try slot_for(std.mem.span(resolved));
    const fork_now = store_zig.fork_generation.load(.seq_cst);
    if (store.fork_generation != fork_now) store.active.store(0, .seq_cst);
    store.reset(fork_now, options.map_size_max);
    store.path_size = @intCast(std.mem.span(resolved).len);
    @memcpy(store.path[0..store.path_size], real[0..store.path_size]);
    try open_env(store, resolved, options);
    generation += 1;
    const index = (@intFromPtr(store) - @intFromPtr(&store_zig.stores)) / @sizeOf(Store);
    const handle = generation << 8 | (index + 1);
    store.handle.store(handle, .seq_cst);
    store.gate.store(.open, .seq_cst);
    return handle;
}

fn slot_for(path: []const u8) Error!*Store {
    const fork_now = store_zig.fork_generation.load(.seq_cst);
    var free: ?*Store = null;
    for (&store_zig.stores) |*store| {
        const ours = store.handle.load(.seq_cst) != 0 and store.fork_generation == fork_now;
        if (!ours) {
            if (free == null) free = store;
            continue;
        }
        // LMDB loses its locks when one process opens a folder twice.
        if (std.mem.eql(u8, store.path[0..store.path_size], path)) return error.Busy;
    }
    return free orelse error.Limit;
}

fn open_env(store: *Store, path: [*:0]const u8, options: OpenOptions) Error!void {
    const fd = try open_data_file(path);
    defer if (fd >= 0) {
        _ = std.c.close(fd);
    };
    if (fd >= 0) try check_metas(fd);
    try ffi.check(ffi.mdb_env_create(&store.env));
    errdefer {
        ffi.mdb_env_close(store.env.?);
        store.env = null;
    }
    const env = store.env.?;
    try ffi.check(ffi.mdb_env_set_maxdbs(env, store_zig.tables_max + 1));
    try ffi.check(ffi.mdb_env_set_maxreaders(env, options.readers_max));
    try ffi.check(ffi.mdb_env_set_mapsize(env, options.map_size));
    var flags = ffi.env_notls;
    if (options.nosync) flags |= ffi.env_nosync;
    if (options.nometasync) flags |= ffi.env_nometasync;
    try ffi.check(ffi.mdb_env_open(env, path, flags, 0o600));
    var dead: c_int = 0;
    try ffi.check(ffi.mdb_reader_check(env, &dead));
    try open_state(store, path, options.salvage);
    store.map_size.store(store.info().map_size, .seq_cst);
}

/// Returns -1 when there is no file yet.
fn open_data_file(path: [*:0]const u8) Error!c_int {
    var buffer: [store_zig.path_size_max + 16]u8 = undefined;
    const name = std.mem.printSentinel(&buffer, "{s}/data.mdb", .{path}, 0) catch {
        return error.Argument;
    };
    const fd = std.c.open(name.ptr, .{ .ACCMODE = .RDONLY, .CLOEXEC = true });
    if (fd >= 0) return fd;
    if (std.c.errno(fd) == .NOENT) return -1;
    return error.Access;
}

/// LMDB believes the metas before it maps the file, so they are read beforehand. Another process
/// may be writing one right now; then the next look finds it whole.
fn check_metas(fd: c_int) Error!void {
    var buffer: [2 * pages.size_max]u8 = undefined;
    for (0..4) |attempt| {
        const size = std.c.pread(fd, &buffer, buffer.len, 0);
        if (size < 0) return error.Io;
        if (size == 0) return; // LMDB makes a new file of it
        _ = metas.read_metas(buffer[0..@intCast(size)]) catch |err| {
            if (attempt == 3) return err;
            os.nap();
            continue;
        };
        return;
    }
}

/// Under the write lock: proves the file whole, then opens (or makes) the table of our state.
fn open_state(store: *Store, path: [*:0]const u8, salvage: bool) Error!void {
    const txn = blk: for (0..4) |_| {
        break :blk store.write_begin() catch |err| {
            if (err != error.MapResized) return err;
            try ffi.check(ffi.mdb_env_set_mapsize(store.env.?, 0));
            continue;
        };
    } else return error.MapFull;
    open_state_in(store, txn, path, salvage) catch |err| {
        ffi.mdb_txn_abort(txn);
        return err;
    };
    try ffi.check(ffi.mdb_txn_commit(txn));
}

fn open_state_in(store: *Store, txn: *ffi.Txn, path: [*:0]const u8, salvage: bool) Error!void {
    const report = try prove_whole(path);
    store.rows_damaged = report.rows_damaged;
    if (report.rows_damaged > 0 and !salvage) {
        explain("{d} of {d} rows are damaged: restore a backup, or remove the folder to start " ++
            "anew", .{ report.rows_damaged, report.rows });
        return error.Corrupt;
    }
    var stat: ffi.Stat = .{};
    try ffi.check(ffi.mdb_stat(txn, ffi.main_dbi, &stat));
    const is_new = stat.entries == 0;
    const flags: c_uint = if (is_new) ffi.dbi_create else 0;
    if (!try ffi.found(ffi.mdb_dbi_open(txn, check.state_table, flags, &store.meta_dbi))) {
        return error.NotOurs;
    }
    const state = versions.state_rows(store, txn);
    if (is_new) return versions.state_write(state, 1);
    const entry = try Hot.get(state, check.state_key, 0) orelse return error.NotOurs;
    if (!std.mem.eql(u8, entry.value, versions.state_value)) return error.NotOurs;
}

/// Checks the newest snapshot through a map of our own: LMDB does not tell where its map is.
fn prove_whole(path: [*:0]const u8) Error!check.Report {
    const fd = try open_data_file(path);
    if (fd < 0) return error.Io;
    defer _ = std.c.close(fd);
    const end = std.c.lseek(fd, 0, std.c.SEEK.END);
    if (end <= 0) return error.Io;
    const size: usize = @intCast(end);
    const address = std.c.mmap(null, size, .{ .READ = true }, .{ .TYPE = .SHARED }, fd, 0);
    if (address == std.c.MAP_FAILED) return error.NoMemory;
    defer _ = std.c.munmap(@alignCast(address), size);
    const file = @as([*]const u8, @ptrCast(address))[0..size];
    return check.whole_file(file, std.heap.c_allocator) catch |err| {
        return if (err == error.OutOfMemory) error.NoMemory else @errorCast(err);
    };
}

pub fn close(handle: u64) Error!void {
    const store = Store.find(handle) catch |err| {
        // The parent's environment is the parent's to close.
        return if (err == error.Forked) {} else err;
    };
    registry.lock();
    defer registry.unlock();
    store.resize_mutex.lock();
    defer store.resize_mutex.unlock();
    if (store.handle.load(.seq_cst) != handle) return error.Closed;
    store.gate.store(.shut, .seq_cst);
    store.drain();
    for (&store.slots) |*slot| {
        assert(!slot.busy.load(.seq_cst));
        if (slot.txn) |txn| ffi.mdb_txn_abort(txn);
        slot.txn = null;
    }
    ffi.mdb_env_close(store.env.?);
    store.env = null;
    store.handle.store(0, .seq_cst);
}

fn short(text: [*:0]const u8) []const u8 {
    const span = std.mem.span(text);
    return span[0..@min(span.len, 120)];
}
