//! The table the product uses: keys to values with a version, an expiry and a checksum.
//!
//! It works on any ordered store of LMDB's shape (get, reserve, remove, cursor), so that tests can
//! be exhaustive over a store in memory. It holds no state and allocates nothing; time and
//! versions are handed in. A row is kept as `header ++ value`:
//!
//!   offset 0  version     u64  grows with every write of the whole store, never 0
//!   offset 8  expires_ms  i64  milliseconds since 1970, 0 = never
//!   offset 16 checksum    u64  XXH64 over version, expiry, key and value, seeded by the table
//!
//! all little-endian. Key and table are in the checksum, so a row that turns up under a damaged key
//! or in another table is found out too.

const std = @import("std");
const assert = std.debug.assert;
const XxHash64 = std.hash.XxHash64;

pub const header_size: u32 = 24;
/// LMDB's compiled-in limit.
pub const key_size_max: u32 = 511;
pub const value_size_max: u32 = 1 << 20;

/// `expected` of a write that does not compare.
pub const version_any: u64 = std.math.maxInt(u64);
/// `expected` of a write that wants the row absent.
pub const version_absent: u64 = 0;
/// Versions fit the integers of JSON.
pub const version_max: u64 = (1 << 53) - 1;

pub const Entry = struct { version: u64, expires_ms: i64, value: []const u8 };

/// What a write did. `version` is the row's new version after a put, the one removed after a
/// delete (0 = nothing live was there), and the current one (0 = absent) when it conflicted.
/// `changed` says whether the store holds anything else than before.
pub const Outcome = struct { done: bool, changed: bool, version: u64 };

fn refused(version: u64) Outcome {
    return .{ .done = false, .changed = false, .version = version };
}

comptime {
    assert(header_size == 3 * @sizeOf(u64));
    assert(version_absent < version_max and version_max < version_any);
}

pub fn key_valid(key: []const u8) bool {
    return key.len >= 1 and key.len <= key_size_max;
}

/// What a table's name adds to the checksums of its rows.
pub fn seed_of(table: []const u8) u64 {
    assert(table.len > 0);
    return XxHash64.hash(0, table);
}

pub fn encode(place: []u8, seed: u64, key: []const u8, entry: Entry) void {
    assert(place.len == header_size + entry.value.len);
    assert(entry.version > version_absent and entry.version <= version_max);
    std.mem.writeInt(u64, place[0..8], entry.version, .little);
    std.mem.writeInt(i64, place[8..16], entry.expires_ms, .little);
    std.mem.writeInt(u64, place[16..24], checksum(seed, key, entry), .little);
    @memcpy(place[header_size..], entry.value);
}

pub fn decode(seed: u64, key: []const u8, stored: []const u8) error{Corrupt}!Entry {
    assert(key_valid(key));
    if (stored.len < header_size) return error.Corrupt;
    if (stored.len > header_size + value_size_max) return error.Corrupt;
    const entry: Entry = .{
        .version = std.mem.readInt(u64, stored[0..8], .little),
        .expires_ms = std.mem.readInt(i64, stored[8..16], .little),
        .value = stored[header_size..],
    };
    if (entry.version == version_absent or entry.version > version_max) return error.Corrupt;
    const kept = std.mem.readInt(u64, stored[16..24], .little);
    if (kept != checksum(seed, key, entry)) return error.Corrupt;
    return entry;
}

fn checksum(seed: u64, key: []const u8, entry: Entry) u64 {
    var prefix: [24]u8 = undefined;
    std.mem.writeInt(u64, prefix[0..8], entry.version, .little);
    std.mem.writeInt(i64, prefix[8..16], entry.expires_ms, .little);
    std.mem.writeInt(u64, prefix[16..24], key.len, .little);
    var hasher = XxHash64.init(seed);
    hasher.update(&prefix);
    hasher.update(key);
    hasher.update(entry.value);
    return hasher.final();
}

fn expired(entry: Entry, now_ms: i64) bool {
    return entry.expires_ms != 0 and entry.expires_ms <= now_ms;
}

/// The operations over one store, e.g. one LMDB table inside one transaction. A store has the field
/// `seed`, from `seed_of`.
pub fn Table(comptime Store: type) type {
    return struct {
        pub const Error = Store.StoreError || error{Corrupt};

        /// The live row, or null when it is absent or its time is over.
        pub fn get(store: Store, key: []const u8, now_ms: i64) Error!?Entry {
            assert(key_valid(key));
            const stored = try store.get(key) orelse return null;
            const entry = try decode(store.seed, key, stored);
            return if (expired(entry, now_ms)) null else entry;
        }

        /// Writes the row when its current version is `expected`. A damaged row is overwritten by
        /// a put that does not compare: that is how it is repaired.
        pub fn put(
            store: Store,
            key: []const u8,
            entry: Entry,
            expected: u64,
            now_ms: i64,
        ) Error!Outcome {
            assert(key_valid(key));
            assert(entry.value.len <= value_size_max);
            if (expected != version_any) {
                const current = try current_version(store, key, now_ms);
                if (current != expected) return refused(current);
                if (entry.version <= current) return error.Corrupt; // versions only grow
            }
            const place = try store.reserve(key, header_size + entry.value.len);
            encode(place, store.seed, key, entry);
            return .{ .done = true, .changed = true, .version = entry.version };
        }

        /// Removes the row when its current version is `expected`. Removing what is not there
        /// succeeds with version 0, unless a version was expected.
        pub fn remove(store: Store, key: []const u8, expected: u64, now_ms: i64) Error!Outcome {
            assert(key_valid(key));
            const current = current_version(store, key, now_ms) catch |err| switch (err) {
                error.Corrupt => if (expected == version_any) version_absent else return err,
                else => return err,
            };
            if (expected != version_any and current != expected) return refused(current);
            return .{ .done = true, .changed = try store.remove(key), .version = current };
        }

        /// Removes the row only when its time is over; says so by `done`.
        pub fn expire(store: Store, key: []const u8, now_ms: i64) Error!Outcome {
            assert(key_valid(key));
            const stored = try store.get(key) orelse return refused(version_absent);
            const entry = try decode(store.seed, key, stored);
            if (!expired(entry, now_ms)) return refused(entry.version);
            return .{ .done = true, .changed = try store.remove(key), .version = entry.version };
        }

        fn current_version(store: Store, key: []const u8, now_ms: i64) Error!u64 {
            const entry = try get(store, key, now_ms) orelse return version_absent;
            assert(entry.version > version_absent);
            return entry.version;
        }

        pub const Row = union(enum) {
            live: struct { key: []const u8, entry: Entry },
            expired: []const u8,
            damaged: []const u8,

            pub fn key_of(row: Row) []const u8 {
                return switch (row) {
                    .live => |live| live.key,
                    .expired, .damaged => |key| key,
                };
            }
        };

        /// Rows in key order that begin with `prefix` and come after `after` (empty = from the
        /// first one). Expired and damaged rows are told apart, never passed off as live.
        pub fn scan(store: Store, prefix: []const u8, after: []const u8) Error!Iterator {
            assert(prefix.len <= key_size_max);
            assert(after.len <= key_size_max);
            const cursor = try store.cursor();
            return .{ .cursor = cursor, .seed = store.seed, .prefix = prefix, .after = after };
        }

        pub const Iterator = struct {
            cursor: Store.Cursor,
            seed: u64,
            prefix: []const u8,
            after: []const u8,
            started: bool = false,

            pub fn next(iterator: *Iterator, now_ms: i64) Error!?Row {
                const found = try iterator.step() orelse return null;
                if (!key_valid(found.key)) return error.Corrupt;
                if (!std.mem.startsWith(u8, found.key, iterator.prefix)) return null;
                const entry = decode(iterator.seed, found.key, found.stored) catch {
                    return .{ .damaged = found.key };
                };
                if (expired(entry, now_ms)) return .{ .expired = found.key };
                return .{ .live = .{ .key = found.key, .entry = entry } };
            }

            fn step(iterator: *Iterator) Error!?Store.Cursor.Row {
                if (iterator.started) return iterator.cursor.next();
                iterator.started = true;
                const from_after = std.mem.order(u8, iterator.after, iterator.prefix) == .gt;
                const start = if (from_after) iterator.after else iterator.prefix;
                const first = try iterator.cursor.seek(start) orelse return null;
                const seen = iterator.after.len > 0 and std.mem.eql(u8, first.key, iterator.after);
                return if (seen) iterator.cursor.next() else first;
            }

            pub fn close(iterator: *Iterator) void {
                iterator.cursor.close();
            }
        };
    };
}
