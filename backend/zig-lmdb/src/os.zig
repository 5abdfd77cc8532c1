//! What is used of the operating system wherever it is needed: the clock, a nap, a mutex.

const std = @import("std");
const assert = std.debug.assert;

pub fn now_ms() i64 {
    var time: std.c.timespec = undefined;
    if (std.c.clock_gettime(.REALTIME, &time) != 0) return 0;
    return @as(i64, time.sec) * 1000 + @divTrunc(@as(i64, time.nsec), 1_000_000);
}

pub fn nap() void {
    _ = std.c.nanosleep(&.{ .sec = 0, .nsec = 50_000 }, null);
}

pub const Mutex = struct {
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
