//! The table over a store in memory and over LMDB, against a model; and the checks of a file.

const std = @import("std");
const bridge = @import("bridge");
const hashtable = bridge.hashtable;
const testing = std.testing;
const any = hashtable.version_any;

/// A sorted array in LMDB's shape. Small and slow on purpose: it is the store we can look into.
const Memory = struct {
    rows: [capacity]Row = @splat(.{}),
    count: usize = 0,

    const capacity = 64;
    const Row = struct {
        key: [hashtable.key_size_max]u8 = undefined,
        key_size: usize = 0,
        stored: [256]u8 = undefined,
        stored_size: usize = 0,

        fn name(row: *const Row) []const u8 {
            return row.key[0..row.key_size];
        }
    };

    fn lower_bound(memory: *const Memory, key: []const u8) usize {
        var index: usize = 0;
        while (index < memory.count and
            std.mem.order(u8, memory.rows[index].name(), key) == .lt) index += 1;
        return index;
    }

    fn find(memory: *Memory, key: []const u8) ?*Row {
        const index = memory.lower_bound(key);
        if (index == memory.count) return null;
        const row = &memory.rows[index];
        return if (std.mem.eql(u8, row.name(), key)) row else null;
    }
};

const MemoryRows = struct {
    memory: *Memory,
    seed: u64 = 1,

    pub const StoreError = error{MapFull};
    pub const Cursor = MemoryCursor;

    pub fn get(rows: MemoryRows, key: []const u8) StoreError!?[]const u8 {
        const row = rows.memory.find(key) orelse return null;
        return row.stored[0..row.stored_size];
    }

    pub fn reserve(rows: MemoryRows, key: []const u8, size: usize) StoreError![]u8 {
        const memory = rows.memory;
        if (memory.find(key) == null) {
            if (memory.count == Memory.capacity) return error.MapFull;
            const index = memory.lower_bound(key);
            var last = memory.count;
            while (last > index) : (last -= 1) memory.rows[last] = memory.rows[last - 1];
            memory.count += 1;
            memory.rows[index].key_size = key.len;
            @memcpy(memory.rows[index].key[0..key.len], key);
        }
        const row = memory.find(key).?;
        row.stored_size = size;
        return row.stored[0..size];
    }

    pub fn remove(rows: MemoryRows, key: []const u8) StoreError!bool {
        const memory = rows.memory;
        if (memory.find(key) == null) return false;
        const index = memory.lower_bound(key);
        for (index..memory.count - 1) |at| memory.rows[at] = memory.rows[at + 1];
        memory.count -= 1;
        return true;
    }

    pub fn cursor(rows: MemoryRows) StoreError!Cursor {
        return .{ .memory = rows.memory };
    }
};

const MemoryCursor = struct {
    memory: *Memory,
    at: usize = 0,

    pub const Row = struct { key: []const u8, stored: []const u8 };

    pub fn seek(cursor: *MemoryCursor, key: []const u8) MemoryRows.StoreError!?Row {
        cursor.at = cursor.memory.lower_bound(key);
        return cursor.here();
    }

    pub fn next(cursor: *MemoryCursor) MemoryRows.StoreError!?Row {
        cursor.at += 1;
        return cursor.here();
    }

    fn here(cursor: *MemoryCursor) ?Row {
        if (cursor.at >= cursor.memory.count) return null;
        const row = &cursor.memory.rows[cursor.at];
        return .{ .key = row.name(), .stored = row.stored[0..row.stored_size] };
    }

    pub fn close(_: *MemoryCursor) void {}
};

const Table = hashtable.Table(MemoryRows);

fn put(rows: MemoryRows, key: []const u8, value: []const u8, version: u64) !hashtable.Outcome {
    return Table.put(rows, key, .{ .version = version, .expires_ms = 0, .value = value }, any, 0);
}

test "a key holds between 1 and 511 bytes" {
    const long: [512]u8 = @splat('k');
    try testing.expect(!hashtable.key_valid(""));
    try testing.expect(hashtable.key_valid(long[0..1]));
    try testing.expect(hashtable.key_valid(long[0..511]));
    try testing.expect(!hashtable.key_valid(&long));
}

test "what was put is got, with its version and expiry" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    const entry: hashtable.Entry = .{ .version = 7, .expires_ms = 100, .value = "20.50" };
    const outcome = try Table.put(rows, "AAPL", entry, any, 0);
    try testing.expect(outcome.done and outcome.changed);
    const got = (try Table.get(rows, "AAPL", 99)).?;
    try testing.expectEqual(7, got.version);
    try testing.expectEqual(100, got.expires_ms);
    try testing.expectEqualStrings("20.50", got.value);
    try testing.expectEqual(null, try Table.get(rows, "AAP", 0));
}

test "a row is gone from the millisecond of its expiry on" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    _ = try Table.put(rows, "k", .{ .version = 1, .expires_ms = 100, .value = "" }, any, 0);
    try testing.expect(try Table.get(rows, "k", 99) != null);
    try testing.expectEqual(null, try Table.get(rows, "k", 100));
    // It counts as absent for a comparison, and a sweep may take it.
    const again: hashtable.Entry = .{ .version = 2, .expires_ms = 200, .value = "" };
    try testing.expect(!(try Table.put(rows, "k", again, 1, 100)).done);
    try testing.expect((try Table.put(rows, "k", again, hashtable.version_absent, 100)).done);
    try testing.expect(!(try Table.expire(rows, "k", 199)).done);
    try testing.expect((try Table.expire(rows, "k", 200)).changed);
    try testing.expectEqual(0, memory.count);
}

test "a comparison writes only on the expected version, and says the current one" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    _ = try put(rows, "k", "a", 5);
    const next: hashtable.Entry = .{ .version = 6, .expires_ms = 0, .value = "b" };
    for ([_]u64{ hashtable.version_absent, 4, 6 }) |expected| {
        const outcome = try Table.put(rows, "k", next, expected, 0);
        try testing.expect(!outcome.done and !outcome.changed);
        try testing.expectEqual(5, outcome.version);
    }
    try testing.expect(!(try Table.remove(rows, "k", 4, 0)).done);
    try testing.expectEqual(6, (try Table.put(rows, "k", next, 5, 0)).version);
    try testing.expectEqual(6, (try Table.remove(rows, "k", 6, 0)).version);
    try testing.expectEqual(0, (try Table.remove(rows, "k", any, 0)).version);
    try testing.expect(!(try Table.remove(rows, "k", 6, 0)).done);
}

test "a version that does not grow is refused" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    _ = try put(rows, "k", "a", 5);
    const back: hashtable.Entry = .{ .version = 5, .expires_ms = 0, .value = "b" };
    try testing.expectError(error.Corrupt, Table.put(rows, "k", back, 5, 0));
}

test "every flipped bit of a row is found, and so is a row under another key or in another table" {
    const entry: hashtable.Entry = .{ .version = 77, .expires_ms = 5, .value = "a quote" };
    var stored: [hashtable.header_size + entry.value.len]u8 = undefined;
    hashtable.encode(&stored, 1, "AAPL", entry);
    _ = try hashtable.decode(1, "AAPL", &stored);
    for (0..stored.len * 8) |bit| {
        const mask = @as(u8, 1) << @intCast(bit % 8);
        stored[bit / 8] ^= mask;
        try testing.expectError(error.Corrupt, hashtable.decode(1, "AAPL", &stored));
        stored[bit / 8] ^= mask;
    }
    try testing.expectError(error.Corrupt, hashtable.decode(1, "AAPM", &stored));
    try testing.expectError(error.Corrupt, hashtable.decode(1, "AAP", &stored));
    try testing.expectError(error.Corrupt, hashtable.decode(2, "AAPL", &stored));
    for (0..stored.len) |size| {
        try testing.expectError(error.Corrupt, hashtable.decode(1, "AAPL", stored[0..size]));
    }
}

test "a damaged row is repaired by a plain put and removable, never compared" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    _ = try put(rows, "k", "a", 1);
    memory.rows[0].stored[hashtable.header_size] ^= 1;
    const next: hashtable.Entry = .{ .version = 2, .expires_ms = 0, .value = "b" };
    try testing.expectError(error.Corrupt, Table.get(rows, "k", 0));
    try testing.expectError(error.Corrupt, Table.put(rows, "k", next, 1, 0));
    try testing.expectError(error.Corrupt, Table.remove(rows, "k", 1, 0));
    try testing.expect((try Table.put(rows, "k", next, any, 0)).done);
    try testing.expectEqualStrings("b", (try Table.get(rows, "k", 0)).?.value);
    memory.rows[0].stored[0] ^= 1;
    const removed = try Table.remove(rows, "k", any, 0);
    try testing.expect(removed.changed and removed.version == 0);
}

test "a scan goes through a prefix in order, and goes on after any key" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    for ([_][]const u8{ "b2", "a", "b1", "b", "c", "b11" }, 1..) |key, version| {
        _ = try put(rows, key, "", version);
    }
    const expected = [_][]const u8{ "b", "b1", "b11", "b2" };
    for (0..expected.len + 1) |skip| {
        const after = if (skip == 0) "" else expected[skip - 1];
        var iterator = try Table.scan(rows, "b", after);
        defer iterator.close();
        for (expected[skip..]) |key| {
            try testing.expectEqualStrings(key, (try iterator.next(0)).?.key_of());
        }
        try testing.expectEqual(null, try iterator.next(0));
    }
    var between = try Table.scan(rows, "b", "b10");
    try testing.expectEqualStrings("b11", (try between.next(0)).?.key_of());
}

test "a scan tells live, expired and damaged rows apart" {
    var memory: Memory = .{};
    const rows: MemoryRows = .{ .memory = &memory };
    _ = try put(rows, "damaged", "a", 1);
    _ = try Table.put(rows, "expired", .{ .version = 2, .expires_ms = 9, .value = "" }, any, 0);
    _ = try put(rows, "live", "a", 3);
    memory.rows[0].stored[hashtable.header_size] ^= 0x80;
    var iterator = try Table.scan(rows, "", "");
    try testing.expect((try iterator.next(9)).? == .damaged);
    try testing.expect((try iterator.next(9)).? == .expired);
    try testing.expect((try iterator.next(9)).? == .live);
    try testing.expectEqual(null, try iterator.next(9));
}

/// What a table should hold: eight keys, each with a version and an expiry, 0 = absent.
const Model = struct {
    versions: [8]u64 = @splat(0),
    expires: [8]i64 = @splat(0),

    fn live(model: *const Model, key: usize, now_ms: i64) u64 {
        const over = model.expires[key] != 0 and model.expires[key] <= now_ms;
        return if (over) 0 else model.versions[key];
    }
};

fn check_against_model(rows: anytype, seed: u64, steps: u64) !void {
    const T = hashtable.Table(@TypeOf(rows));
    var random_state = std.Random.DefaultPrng.init(seed);
    const random = random_state.random();
    var model: Model = .{};
    for (1..steps) |version| {
        const now: i64 = @intCast(version / 4 + 1);
        const index = random.uintLessThan(usize, 8);
        const key = "keys" ++ [_]u8{'0'};
        var name: [5]u8 = key.*;
        name[4] += @intCast(index);
        const current = model.live(index, now);
        const expected = switch (random.uintLessThan(u8, 4)) {
            0 => 0,
            1 => current,
            2 => random.uintAtMost(u64, version),
            else => any,
        };
        const allowed = expected == any or expected == current;
        if (random.uintLessThan(u8, 3) > 0) {
            const expires: i64 = if (random.boolean()) 0 else now + random.uintLessThan(u8, 20);
            const value = name[0..random.uintLessThan(usize, 5)];
            const entry: hashtable.Entry = .{
                .version = version,
                .expires_ms = expires,
                .value = value,
            };
            const outcome = try T.put(rows, &name, entry, expected, now);
            try testing.expectEqual(allowed, outcome.done);
            try testing.expectEqual(if (allowed) version else current, outcome.version);
            if (allowed) model.versions[index] = version;
            if (allowed) model.expires[index] = expires;
        } else {
            const outcome = try T.remove(rows, &name, expected, now);
            try testing.expectEqual(allowed, outcome.done);
            try testing.expectEqual(current, outcome.version);
            if (allowed) model.versions[index] = 0;
        }
        try check_rows(T, rows, &model, now);
    }
}

fn check_rows(comptime T: type, rows: anytype, model: *const Model, now: i64) !void {
    var name = "keys0".*;
    for (0..8) |index| {
        name[4] = '0' + @as(u8, @intCast(index));
        const entry = try T.get(rows, &name, now);
        const version = if (entry) |found| found.version else 0;
        try testing.expectEqual(model.live(index, now), version);
    }
    var iterator = try T.scan(rows, "keys", "");
    defer iterator.close();
    var live: u32 = 0;
    while (try iterator.next(now)) |row| live += @intFromBool(row == .live);
    var expected: u32 = 0;
    for (0..8) |index| expected += @intFromBool(model.live(index, now) != 0);
    try testing.expectEqual(expected, live);
}

test "random operations agree with the model over the store in memory" {
    for (0..200) |seed| {
        var memory: Memory = .{};
        try check_against_model(MemoryRows{ .memory = &memory }, seed, 200);
    }
}

extern fn mkdtemp(template: [*:0]u8) ?[*:0]u8;

test "random operations agree with the model over LMDB" {
    const ffi = bridge.ffi;
    var template = "/tmp/zig-lmdb-test-XXXXXX".*;
    const folder = mkdtemp(&template).?;
    defer remove_folder(folder);
    var env: ?*ffi.Env = null;
    try ffi.check(ffi.mdb_env_create(&env));
    defer ffi.mdb_env_close(env.?);
    try ffi.check(ffi.mdb_env_set_maxdbs(env.?, 2));
    try ffi.check(ffi.mdb_env_open(env.?, folder, ffi.env_nosync, 0o600));
    for (0..50) |seed| {
        var txn: ?*ffi.Txn = null;
        try ffi.check(ffi.mdb_txn_begin(env.?, null, 0, &txn));
        defer ffi.mdb_txn_abort(txn.?);
        var dbi: ffi.Dbi = 0;
        try ffi.check(ffi.mdb_dbi_open(txn.?, "model", ffi.dbi_create, &dbi));
        const rows: ffi.Rows = .{ .txn = txn.?, .dbi = dbi, .seed = hashtable.seed_of("model") };
        try check_against_model(rows, seed, 200);
    }
}

fn remove_folder(folder: [*:0]const u8) void {
    var buffer: [128]u8 = undefined;
    for ([_][]const u8{ "/data.mdb", "/lock.mdb" }) |name| {
        const path = std.mem.printSentinel(&buffer, "{s}{s}", .{ folder, name }, 0) catch return;
        _ = std.c.unlink(path.ptr);
    }
    _ = std.c.rmdir(folder);
}

test "a file that is no LMDB file, or a part of one, is refused" {
    const metas = bridge.metas;
    const zeros: [8192]u8 = @splat(0);
    try testing.expectError(error.NotOurs, metas.read_metas(&zeros));
    for ([_]usize{ 0, 1, 151 }) |size| {
        try testing.expectError(error.Corrupt, metas.read_metas(zeros[0..size]));
    }
    var random_state = std.Random.DefaultPrng.init(1);
    var noise: [8192]u8 = undefined;
    random_state.random().bytes(&noise);
    try testing.expect(std.meta.isError(metas.read_metas(&noise)));
}
