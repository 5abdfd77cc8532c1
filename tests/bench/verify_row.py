"""Measures how fast audit chains are verified, as the command line does it."""

import asyncio
from pathlib import Path
from time import monotonic

import asyncpg
from bench.bench_cluster import DATABASE, superuser
from fixtures_postgres import Cluster

from app.admin.auditing import VERIFIERS, connected
from app.audits import repo

# What docs/audit.md promises.
ROWS_A_SECOND = 100_000
STREAMS, ROWS_A_STREAM, ROWS_AT_ONCE = 4, 30_000, 1_000
# A transaction each: within one, every link would walk over all versions of the stream's head.
APPEND = """
    SELECT app.sp_audit_append_all(
        %s, array_agg('user:00000000-0000-0000-0000-000000000001'::text), 'order.place',
        array_agg(jsonb_build_object(
            'order_id', n, 'client_order_id', md5(n::text), 'symbol', 'AAPL', 'side', 'buy',
            'quantity', '10', 'status_before', 'new', 'request_id', md5(n::text)
        ))
    )
    FROM generate_series(1, %s) AS n"""


def verified_against_goal(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Return rows a second of verifying whole chains again and again, and what is promised."""
    with superuser(cluster, autocommit=True) as connection:
        query = "SELECT stream_id, seq FROM app.streams WHERE stream_id > 0 ORDER BY 1 LIMIT %s"
        for stream_id, length in connection.execute(query, [STREAMS]).fetchall():
            for _ in range(length, ROWS_A_STREAM, ROWS_AT_ONCE):
                connection.execute(APPEND, (stream_id, ROWS_AT_ONCE))
        connection.execute("VACUUM ANALYZE audit.audit_log")
    return asyncio.run(_rate(cluster, seconds)), ROWS_A_SECOND


async def _rate(cluster: Cluster, seconds: float) -> float:
    async with connected(cluster.settings(DATABASE), VERIFIERS) as connections:
        heads, _ = await repo.heads(connections[0])
        longest = sorted(heads, key=lambda head: -head.seq)[:STREAMS]
        lengths = {head.stream_id: head.seq for head in longest}
        readers = [*map(repo.slices, connections)]
        began, worked, rows = monotonic(), _worked(connections), 0
        while monotonic() < began + seconds:
            reports = await repo.verify_all(readers, lengths)
            if not all(report.is_whole for report in reports):
                raise RuntimeError(f"a chain is broken: {reports}")
            rows += sum(report.checked for report in reports)
        rate, worked = rows / (monotonic() - began), _worked(connections) - worked
        # What a busy machine does not disturb.
        print(f"     verified {rows / worked:,.0f} rows per second of a core")  # noqa: T201
        return rate


def _worked(connections: list[asyncpg.Connection]) -> float:
    pids = [connection.get_server_pid() for connection in connections]
    times = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in pids]
    return sum(map(int, times)) / 1e9
