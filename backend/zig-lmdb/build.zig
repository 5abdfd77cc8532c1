//! Builds libzig_lmdb.so into target/ and runs the tests:
//!
//!   zig build install --prefix target      the library
//!   zig build test                         the Zig tests
//!
//! LMDB's C code must lie in target/lmdb-src: scripts/build_zig_lmdb.sh puts it there. That script
//! also builds the library with the same flags, without the build runner's own compile time.

const std = @import("std");
const builtin = @import("builtin");

const zig_version = "0.17.1";

comptime {
    if (!std.mem.eql(u8, builtin.zig_version_string, zig_version)) {
        @compileError("needs Zig " ++ zig_version ++ ", this is " ++ builtin.zig_version_string);
    }
}

const c_flags = [_][]const u8{
    "-O2",
    "-DNDEBUG",
    "-fno-sanitize=undefined",
    "-fvisibility=hidden",
    "-Wno-unused",
};
/// Clang makes LMDB's binary search branchless, which waits for every cache miss: a third slower.
const c_flags_x86_64 = c_flags ++ [_][]const u8{ "-mllvm", "-x86-cmov-converter-force-all=true" };

pub fn build(b: *std.Build) void {
    // A portable CPU: the library is mounted into containers on other hosts.
    const target = b.standardTargetOptions(.{ .default_target = .{
        .cpu_model = if (builtin.cpu.arch == .x86_64)
            .{ .explicit = &std.Target.x86.cpu.x86_64_v2 }
        else
            .baseline,
    } });
    const lmdb_src = b.option([]const u8, "lmdb-src", "Folder with LMDB's mdb.c and midl.c") orelse
        "target/lmdb-src";

    const lib = b.addLibrary(.{
        .name = "zig_lmdb",
        .linkage = .dynamic,
        .root_module = bridge_module(b, target, lmdb_src, .safe),
    });
    const install = b.addInstallArtifact(lib, .{
        .dest_dir = .{ .override = .{ .custom = "." } },
    });
    b.getInstallStep().dependOn(&install.step);

    const test_module = b.createModule(.{
        .root_source_file = b.path("tests/hashtable_test.zig"),
        .target = target,
        .optimize = .debug, // as many checks as safe, and compiled in a third of the time
        .link_libc = true,
    });
    test_module.addImport("bridge", bridge_module(b, target, lmdb_src, .debug));
    const tests = b.addTest(.{ .root_module = test_module });
    b.step("test", "Run the Zig tests").dependOn(&b.addRunArtifact(tests).step);
}

fn bridge_module(
    b: *std.Build,
    target: std.Build.ResolvedTarget,
    lmdb_src: []const u8,
    optimize: std.builtin.Optimize,
) *std.Build.Module {
    const module = b.createModule(.{
        .root_source_file = b.path("src/bridge.zig"),
        .target = target,
        .optimize = optimize, // never fast: a wrong page must not become a wrong price
        .link_libc = true,
        .pic = true,
        .strip = optimize != .debug,
    });
    module.addCSourceFiles(.{
        .root = b.path(lmdb_src),
        .files = &.{ "mdb.c", "midl.c" },
        .flags = if (target.result.cpu.arch == .x86_64) &c_flags_x86_64 else &c_flags,
    });
    return module;
}
