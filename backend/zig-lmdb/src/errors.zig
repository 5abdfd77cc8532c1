//! The errors of the store, and what a caller sees of them: a number that never changes its
//! meaning, and a text for the calling thread.

const std = @import("std");
const assert = std.debug.assert;
const ffi = @import("lmdb_ffi.zig");

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

pub const status_conflict: i32 = -2;
pub const status_key_invalid: i32 = -3;
pub const status_value_too_large: i32 = -4;

pub fn status_of(err: Error) i32 {
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

pub fn text_of(status: i32) [*:0]const u8 {
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

/// What `explain` said about the last error of this thread, until `fail` takes it.
threadlocal var explanation: ?[*:0]const u8 = null;
threadlocal var explanation_buffer: [256]u8 = undefined;

/// Says more about the error that is about to be returned.
pub fn explain(comptime format: []const u8, args: anytype) void {
    const text = std.mem.printSentinel(&explanation_buffer, format, args, 0) catch return;
    explanation = text.ptr;
}

/// What `zl_last_error` says.
pub threadlocal var last_text: [*:0]const u8 = "no error";

/// Ends a call that failed: keeps what is to be said, and gives the number.
pub fn fail(err: Error) i32 {
    const status = status_of(err);
    assert(status < 0);
    last_text = explanation orelse text_of(status);
    explanation = null;
    return status;
}
