"""Measures how fast audit chains are verified: by the command line, the API, and one statement."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
from bench.bench_cluster import DATABASE
from bench.http_row import running_platform
from fixtures_postgres import Cluster
from platform_client import Trader

from app.admin.auditing import VERIFIERS, connected
from app.audits import repo

# What docs/audit.md promises.
ROWS_A_SECOND = 100_000
STREAMS, ROWS_A_STREAM, ROWS_AT_ONCE = 4, 30_000, 1_000
ANSWER_TIMEOUT_S = 60
LONGEST = "SELECT stream_id, seq FROM app.streams WHERE stream_id > 0 ORDER BY 1 LIMIT $1"
# A transaction each: within one, every link would walk over all versions of the stream's head.
APPEND = """
    SELECT app.sp_audit_append_all(
        $1, array_agg('user:00000000-0000-0000-0000-000000000001'::text), 'order.place',
        array_agg(jsonb_build_object(
            'order_id', n, 'client_order_id', md5(n::text), 'symbol', 'AAPL', 'side', 'buy',
            'quantity', '10', 'status_before', 'new', 'request_id', md5(n::text)
        ))
    )
    FROM generate_series(1, $2::integer) AS n"""


def by_command_line(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Return rows a second of verifying whole chains again and again, and what is promised."""
    return asyncio.run(_by_command_line(cluster, seconds)), ROWS_A_SECOND


def by_statement(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Return the same of one session that asks for a whole chain in SQL."""
    return asyncio.run(_by_statement(cluster, seconds)), ROWS_A_SECOND


def by_api(_cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Return the same of an administrator at the public door of a whole platform."""
    return asyncio.run(_by_api(seconds)), ROWS_A_SECOND


async def _by_command_line(cluster: Cluster, seconds: float) -> float:
    lengths = await _filled(await _superuser(cluster))
    async with connected(cluster.settings(DATABASE), VERIFIERS) as connections:
        readers = [*map(repo.slices, connections)]
        began, worked, rows = monotonic(), _worked(_pids(connections)), 0
        while monotonic() < began + seconds:
            rows += _checked(await repo.verify_all(readers, lengths))
        return _rate(rows, monotonic() - began, _worked(_pids(connections)) - worked)


async def _by_statement(cluster: Cluster, seconds: float) -> float:
    lengths = await _filled(await _superuser(cluster))
    async with connected(cluster.settings(DATABASE)) as (connection,):
        began, worked, rows = monotonic(), _worked(_pids([connection])), 0
        while monotonic() < began + seconds:
            for stream_id in lengths:
                row = await connection.fetchrow("SELECT * FROM app.sp_audit_verify($1)", stream_id)
                if row["broken_seq"] is not None:
                    raise RuntimeError(f"chain {stream_id} is broken: {row}")
                rows += row["checked"]
        return _rate(rows, monotonic() - began, _worked(_pids([connection])) - worked)


async def _by_api(seconds: float) -> float:
    platform = running_platform()
    superuser = await platform.database()
    lengths = await _filled(superuser)
    query = "SELECT array_agg(pid) FROM pg_stat_activity WHERE usename = 'app_write'"
    async with Trader(platform, "admin") as admin:
        admin.client.timeout = httpx.Timeout(ANSWER_TIMEOUT_S)

        async def verified() -> int:
            answer = await admin.client.post("/api/audit/verify", json={})
            found = answer.raise_for_status().json()
            if found["broken"] or found["rows"] < sum(lengths.values()):
                raise RuntimeError(f"a chain is broken: {found}")
            return int(found["rows"])

        # The sessions that serve it are open from here on.
        await verified()
        pids = await superuser.fetchval(query)
        began, worked, rows = monotonic(), _worked(pids), 0
        while monotonic() < began + seconds:
            rows += await verified()
        taken_s, worked = monotonic() - began, _worked(pids) - worked
    await superuser.close()
    return _rate(rows, taken_s, worked)


async def _superuser(cluster: Cluster) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=cluster.host, port=cluster.port, database=DATABASE, user="postgres",
        password=cluster.password("postgres"),
    )  # fmt: skip


async def _filled(superuser: asyncpg.Connection) -> dict[int, int]:
    """Make some chains as long as they shall be; returns their lengths."""
    for stream_id, length in await superuser.fetch(LONGEST, STREAMS):
        for _ in range(length, ROWS_A_STREAM, ROWS_AT_ONCE):
            await superuser.execute(APPEND, stream_id, ROWS_AT_ONCE)
    await superuser.execute("VACUUM ANALYZE audit.audit_log")
    return {row["stream_id"]: row["seq"] for row in await superuser.fetch(LONGEST, STREAMS)}


def _checked(reports: Sequence[repo.ChainReport]) -> int:
    if not all(report.is_whole for report in reports):
        raise RuntimeError(f"a chain is broken: {reports}")
    return sum(report.checked for report in reports)


def _rate(rows: int, seconds: float, worked: float) -> float:
    # What a busy machine does not disturb.
    print(f"     verified {rows / worked:,.0f} rows per second of a core")  # noqa: T201
    return rows / seconds


def _pids(connections: Sequence[asyncpg.Connection]) -> list[int]:
    return [connection.get_server_pid() for connection in connections]


def _worked(pids: Sequence[int]) -> float:
    times = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in pids]
    return sum(map(int, times)) / 1e9
