//! One open LMDB folder: environment, gate, growth, transaction pool, versions.
//!
//! Calls pass a gate, so that the map can be moved as soon as those inside have left. Stores live
//! in a fixed array and are named by numbers: a stale number is an error, never a dangling
//! pointer. Nothing is allocated after open but by LMDB itself.

const std = @import("std");
const assert = std.debug.assert;
const check = @import("check.zig");
const ffi = @import("lmdb_ffi.zig");
const hashtable = @import("hashtable.zig");

const Hot = hashtable.Table(ffi.Rows);
const Atomic = std.atomic.Value;

pub const stores_max: u32 = 8;
pub const tables_max: u32 = 32;
pub const table_name_max: u32 = 32;
/// Readers of this process at the same time; more wait.
const slots_max: u32 = 64;
const path_size_max: u32 = 4096;

/// A version is `group << 12 | index in the batch`; groups are milliseconds since 2026 or, when
/// those do not grow, the last group plus one. So versions never go back, not even in a restored
/// copy, as long as the clock is right or the copy is the newest.
pub const version_index_bits = 12;
const version_group_max: u64 = (1 << 41) - 1;
const epoch_ms: i64 = 1_767_225_600_000;
/// A clock beyond 2060 is wrong and not followed.
const clock_group_max: u64 = 1 << 40;

const state_value = "informania hot store 1";

comptime {
    assert(version_group_max << version_index_bits <= hashtable.version_max);
}

pub const Error = ffi.Error || error{
    Aborted,
    Argument,
    BufferTooSmall,
    Busy,
    Closed,
    Forked,
    Limit,
    NotFound,
    VersionsExhausted,
};

pub const OpenOptions = struct {
    map_size: u64,
    map_size_max: u64,
    readers_max: u32,
    nosync: bool,
    nometasync: bool,
    salvage: bool,
};

/// What `explain` said about the last error of this thread, until `bridge` takes it.
pub threadlocal var explanation: ?[*:0]const u8 = null;
threadlocal var explanation_buffer: [256]u8 = undefined;

/// Says more about the error that is about to be returned.
pub fn explain(comptime format: []const u8, args: anytype) void {
    const text = std.mem.printSentinel(&explanation_buffer, format, args, 0) catch return;
    explanation = text.ptr;
}

pub fn now_ms() i64 {
    var time: std.c.timespec = undefined;
    if (std.c.clock_gettime(.REALTIME, &time) != 0) return 0;
    return @as(i64, time.sec) * 1000 + @divTrunc(@as(i64, time.nsec), 1_000_000);
}

fn nap() void {
    _ = std.c.nanosleep(&.{ .sec = 0, .nsec = 50_000 }, null);
}

const Mutex = struct {
    inner: std.c.pthread_mutex_t = .{},

    pub fn lock(mutex: *Mutex) void {
        const code = std.c.pthread_mutex_lock(&mutex.inner);
        assert(code == .SUCCESS);
    }

    pub fn unlock(mutex: *Mutex) void {
        const code = std.c.pthread_mutex_unlock(&mutex.inner);
        assert(code == .SUCCESS);
    }
};

pub const Slot = struct { busy: Atomic(bool) = .init(false), txn: ?*ffi.Txn = null };
pub const TableName = struct { bytes: [table_name_max + 1]u8 = @splat(0), size: u32 = 0 };
const Gate = enum(u8) { shut, open, resizing };

pub const Store = struct {
    handle: Atomic(u64) = .init(0),
    gate: Atomic(Gate) = .init(.shut),
    active: Atomic(u32) = .init(0),
    broken: Atomic(bool) = .init(false),
    map_size: Atomic(u64) = .init(0),
    grows: Atomic(u64) = .init(0),
    tables_count: Atomic(u32) = .init(0),
    fork_generation: u32 = 0,
    /// Held while the map moves, and by a backup: growing waits for it, readers do not.
    resize_mutex: Mutex = .{},
    tables_mutex: Mutex = .{},
    env: ?*ffi.Env = null,
    meta_dbi: ffi.Dbi = 0,
    map_size_max: u64 = 0,
    rows_damaged: u64 = 0,
    slots: [slots_max]Slot = @splat(.{}),
    tables: [tables_max]ffi.Dbi = @splat(0),
    seeds: [tables_max]u64 = @splat(0),
    table_names: [tables_max]TableName = @splat(.{}),
    path: [path_size_max]u8 = undefined,
    path_size: u32 = 0,

    /// Makes a slot new. `active` stays: a call with a stale number may be on its way out.
    fn reset(store: *Store, fork_now: u32, map_size_max: u64) void {
        store.handle.store(0, .seq_cst);
        store.gate.store(.shut, .seq_cst);
        store.broken.store(false, .seq_cst);
        store.grows.store(0, .seq_cst);
        store.tables_count.store(0, .seq_cst);
        store.fork_generation = fork_now;
        store.resize_mutex = .{};
        store.tables_mutex = .{};
        store.env = null;
        store.map_size_max = map_size_max;
        store.rows_damaged = 0;
        store.slots = @splat(.{});
    }

    /// Every path to the environment leads through here, and out through `leave`.
    pub fn enter(handle: u64) Error!*Store {
        const store = try find(handle);
        while (true) {
            _ = store.active.fetchAdd(1, .seq_cst);
            const gate = store.gate.load(.seq_cst);
            if (gate == .open and store.handle.load(.seq_cst) == handle) {
                if (!store.broken.load(.seq_cst)) return store;
                store.leave();
                return error.Panic;
            }
            store.leave();
            if (gate != .resizing) return error.Closed;
            nap();
        }
    }

    pub fn leave(store: *Store) void {
        const before = store.active.fetchSub(1, .seq_cst);
        assert(before > 0);
    }

    fn drain(store: *Store) void {
        assert(store.gate.load(.seq_cst) != .open);
        while (store.active.load(.seq_cst) != 0) nap();
    }

    pub fn find(handle: u64) Error!*Store {
        const index = handle & 0xff;
        if (index == 0 or index > stores_max) return error.Closed;
        const store = &stores[index - 1];
        if (store.handle.load(.seq_cst) != handle) return error.Closed;
        if (store.fork_generation != fork_generation.load(.seq_cst)) return error.Forked;
        return store;
    }

    /// Doubles the map (`grow`), or takes over what another process made of it.
    pub fn resize(store: *Store, handle: u64, seen: u64, grow: bool) Error!void {
        store.resize_mutex.lock();
        defer store.resize_mutex.unlock();
        if (store.handle.load(.seq_cst) != handle) return error.Closed;
        if (store.map_size.load(.seq_cst) != seen) return; // another thread was quicker
        if (grow and seen >= store.map_size_max) return error.MapFull;
        store.gate.store(.resizing, .seq_cst);
        defer store.gate.store(.open, .seq_cst);
        store.drain();
        const size = if (grow) @min(seen * 2, store.map_size_max) else 0;
        ffi.check(ffi.mdb_env_set_mapsize(store.env.?, size)) catch {
            // LMDB has lost its map; nothing may touch the environment but close.
            store.broken.store(true, .seq_cst);
            return error.Panic;
        };
        const before = store.map_size.swap(store.info().map_size, .seq_cst);
        if (store.map_size.load(.seq_cst) != before) _ = store.grows.fetchAdd(1, .seq_cst);
    }

    pub fn info(store: *Store) ffi.EnvInfo {
        var out: ffi.EnvInfo = .{};
        const code = ffi.mdb_env_info(store.env.?, &out);
        assert(code == 0);
        return out;
    }

    pub fn write_begin(store: *Store) Error!*ffi.Txn {
        assert(store.env != null);
        var txn: ?*ffi.Txn = null;
        try ffi.check(ffi.mdb_txn_begin(store.env.?, null, 0, &txn));
        assert(txn != null);
        return txn.?;
    }

    /// Takes a parked read transaction and renews it: a tenth of the price of a new one.
    pub fn read_begin(store: *Store) Error!*Slot {
        const slot = try store.slot_take();
        errdefer slot.busy.store(false, .release);
        if (slot.txn) |txn| {
            ffi.check(ffi.mdb_txn_renew(txn)) catch |err| {
                ffi.mdb_txn_abort(txn);
                slot.txn = null;
                return err;
            };
        } else {
            try ffi.check(ffi.mdb_txn_begin(store.env.?, null, ffi.txn_rdonly, &slot.txn));
        }
        assert(slot.txn != null);
        return slot;
    }

    pub fn read_end(slot: *Slot) void {
        assert(slot.busy.load(.acquire));
        ffi.mdb_txn_reset(slot.txn.?);
        slot.busy.store(false, .release);
    }

    fn slot_take(store: *Store) Error!*Slot {
        for (0..1000) |_| {
            for (0..slots_max) |step| {
                const slot = &store.slots[(slot_hint +% step) % slots_max];
                if (slot.busy.cmpxchgStrong(false, true, .acquire, .monotonic) != null) continue;
                slot_hint = (slot_hint +% @as(u32, @intCast(step))) % slots_max;
                return slot;
            }
            nap();
        }
        return error.ReadersFull;
    }

    /// The table of our own state.
    pub fn state_rows(store: *Store, txn: *ffi.Txn) ffi.Rows {
        const seed = comptime hashtable.seed_of(check.state_table);
        return .{ .txn = txn, .dbi = store.meta_dbi, .seed = seed };
    }

    pub fn rows(store: *Store, txn: *ffi.Txn, table: u32) Error!ffi.Rows {
        if (table >= store.tables_count.load(.acquire)) return error.Argument;
        return .{ .txn = txn, .dbi = store.tables[table], .seed = store.seeds[table] };
    }
};

var stores: [stores_max]Store = @splat(.{});
var registry: Mutex = .{};
var generation: u64 = 0;
var atfork_done: bool = false;
var fork_generation: Atomic(u32) = .init(0);
threadlocal var slot_hint: u32 = 0;

fn after_fork_in_child() callconv(.c) void {
    _ = fork_generation.fetchAdd(1, .seq_cst);
    // The thread that may have held it does not exist here.
    registry = .{};
}

// ---- open and close

pub fn open(path: [*:0]const u8, options: OpenOptions) Error!u64 {
    registry.lock();
    defer registry.unlock();
    if (!atfork_done) {
        if (std.c.pthread_atfork(null, null, after_fork_in_child) != 0) return error.NoMemory;
        atfork_done = true;
    }
    var real: [path_size_max]u8 = undefined;
    const resolved = std.c.realpath(path, &real) orelse {
        explain("{s}: no such folder, or not readable", .{short(path)});
        return error.Access;
    };
    const store = try slot_for(std.mem.span(resolved));
    const fork_now = fork_generation.load(.seq_cst);
    if (store.fork_generation != fork_now) store.active.store(0, .seq_cst);
    store.reset(fork_now, options.map_size_max);
    store.path_size = @intCast(std.mem.span(resolved).len);
    @memcpy(store.path[0..store.path_size], real[0..store.path_size]);
    try open_env(store, resolved, options);
    generation += 1;
    const index = (@intFromPtr(store) - @intFromPtr(&stores)) / @sizeOf(Store);
    const handle = generation << 8 | (index + 1);
    store.handle.store(handle, .seq_cst);
    store.gate.store(.open, .seq_cst);
    return handle;
}

fn slot_for(path: []const u8) Error!*Store {
    const fork_now = fork_generation.load(.seq_cst);
    var free: ?*Store = null;
    for (&stores) |*store| {
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
    try ffi.check(ffi.mdb_env_set_maxdbs(env, tables_max + 1));
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
    var buffer: [path_size_max + 16]u8 = undefined;
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
    var buffer: [2 * check.page_size_max]u8 = undefined;
    for (0..4) |attempt| {
        const size = std.c.pread(fd, &buffer, buffer.len, 0);
        if (size < 0) return error.Io;
        if (size == 0) return; // LMDB makes a new file of it
        _ = check.read_metas(buffer[0..@intCast(size)]) catch |err| {
            if (attempt == 3) return err;
            nap();
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
    const state = store.state_rows(txn);
    if (is_new) return state_write(state, 1);
    const entry = try Hot.get(state, check.state_key, 0) orelse return error.NotOurs;
    if (!std.mem.eql(u8, entry.value, state_value)) return error.NotOurs;
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

/// The state row's version is the last group that was given out.
pub fn next_group(state: ffi.Rows, now: i64) Error!u64 {
    const last = try Hot.get(state, check.state_key, 0) orelse return error.Corrupt;
    const clock: u64 = if (now > epoch_ms) @intCast(now - epoch_ms) else 0;
    const floor = if (clock < clock_group_max) clock else 0;
    const group = @max((last.version >> version_index_bits) + 1, floor);
    assert(group >= 1);
    if (group > version_group_max) return error.VersionsExhausted;
    return group;
}

pub fn state_write(state: ffi.Rows, group: u64) Error!void {
    assert(group >= 1 and group <= version_group_max);
    const outcome = try Hot.put(state, check.state_key, .{
        .version = group << version_index_bits,
        .expires_ms = 0,
        .value = state_value,
    }, hashtable.version_any, 0);
    assert(outcome.done);
}
