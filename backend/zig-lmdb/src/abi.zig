//! What crosses the C ABI: the structs, flags and limits of include/lmdb.h.

const std = @import("std");
const builtin = @import("builtin");
const assert = std.debug.assert;

pub const abi_version: u32 = 1;
pub const batch_ops_max: u32 = 4096;
pub const batch_bytes_max: u64 = 64 << 20;
pub const map_size_min: u64 = 64 << 10;
pub const map_size_limit: u64 = 1 << 40;

comptime {
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

pub const struct_sizes = [_]u32{ 24, 24, 32, 16, 32, 520, 96 };
comptime {
    const types = [_]type{ Options, Meta, Op, Result, Row, Position, Stats };
    assert(types.len == struct_sizes.len);
    for (types, struct_sizes) |T, size| assert(@sizeOf(T) == size);
}

/// Of `Options.flags`.
pub const flag_nosync: u32 = 1;
pub const flag_nometasync: u32 = 2;
pub const flag_salvage: u32 = 4;
/// Of `zl_apply`: all operations or none.
pub const flag_atomic: u32 = 1;
/// Of `Op.kind`.
pub const op_put: u32 = 1;
pub const op_delete: u32 = 2;
pub const op_expire: u32 = 3;
