"""What pg_dump writes of our database makes the same database again."""

import asyncio
import subprocess
from pathlib import Path

import psycopg
from sp_world import World, desk

from native import postgres

__all__ = ["desk"]

AGAIN = "dumped"


def _run(program: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [program, *arguments], input=given, capture_output=True, timeout=60, check=False
    )


async def test_a_dump_is_restored_without_an_error(desk: World) -> None:
    await desk.acquire()
    await desk.fill(await desk.submit(), "5")
    there = desk.database
    binaries, address = postgres.find_binaries(), there.dsn("postgres")
    again = address.removesuffix(there.name) + f"{there.name}_{AGAIN}"
    dump = await asyncio.to_thread(_run, binaries / "pg_dump", address)
    assert dump.returncode == 0, dump.stderr
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {there.name}_{AGAIN}".encode())
        try:
            options = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", again)
            restored = await asyncio.to_thread(_run, binaries / "psql", *options, given=dump.stdout)
            assert (restored.returncode, restored.stderr) == (0, b"")
            with psycopg.connect(again) as other:
                row = other.execute("SELECT cum_quantity FROM app.orders").fetchone()
                assert row == (5,)
        finally:
            connection.execute(f"DROP DATABASE {there.name}_{AGAIN}".encode())
