//! One open LMDB folder in use: the gate, growth, and the pool of transactions.
//!
//! Calls pass a gate, so that the map can be moved as soon as those inside have left. Stores live
//! in a fixed array and are named by numbers: a stale number is an error, never a dangling
//! pointer. Nothing is allocated after open but by LMDB itself.

const std = @import("std");
const assert = std.debug.assert;
const errors = @import("errors.zig");
const ffi = @import("lmdb_ffi.zig");
const os = @import("os.zig");

const Atomic = std.atomic.Value;
const Error = errors.Error;

const stores_max: u32 = 8;
pub const tables_max: u32 = 32;
pub const table_name_max: u32 = 32;
pub const path_size_max: u32 = 4096;
/// Readers of this process at the same time; more wait.
const slots_max: u32 = 64;

pub var stores: [stores_max]Store = @splat(.{});
/// Grows in every child: a store of another generation is the parent's.
pub var fork_generation: Atomic(u32) = .init(0);
threadlocal var slot_hint: u32 = 0;

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
    resize_mutex: os.Mutex = .{},
    tables_mutex: os.Mutex = .{},
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
    pub fn reset(store: *Store, fork_now: u32, map_size_max: u64) void {
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
            os.nap();
        }
    }

    pub fn leave(store: *Store) void {
        const before = store.active.fetchSub(1, .seq_cst);
        assert(before > 0);
    }

    pub fn drain(store: *Store) void {
        assert(store.gate.load(.seq_cst) != .open);
        while (store.active.load(.seq_cst) != 0) os.nap();
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
            os.nap();
        }
        return error.ReadersFull;
    }

    pub fn rows(store: *Store, txn: *ffi.Txn, table: u32) Error!ffi.Rows {
        if (table >= store.tables_count.load(.acquire)) return error.Argument;
        return .{ .txn = txn, .dbi = store.tables[table], .seed = store.seeds[table] };
    }
};
