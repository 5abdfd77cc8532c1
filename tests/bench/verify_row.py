"""Measures how fast audit chains are verified, as the command line does it."""

import asyncio
from time import monotonic

from bench.bench_cluster import DATABASE, superuser
from fixtures_postgres import Cluster

from app.admin.auditing import VERIFIERS, connected
from app.audits import repo

# What docs/audit.md promises.
ROWS_A_SECOND = 100_000
STREAMS, ROWS_A_STREAM = 4, 30_000
APPEND = """
    SELECT app.sp_audit_append(
        a.account_id, 'user:00000000-0000-0000-0000-000000000001', 'order.place',
        jsonb_build_object('order_id', n, 'client_order_id', md5(n::text), 'symbol', 'AAPL',
            'side', 'buy', 'quantity', '10', 'status_before', 'new', 'request_id', md5(n::text))
    )
    FROM (SELECT account_id FROM app.accounts ORDER BY account_id LIMIT %s) AS a
    CROSS JOIN generate_series(1, %s) AS n"""


def verified_against_goal(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Return rows a second of verifying whole chains again and again, and what is promised."""
    with superuser(cluster) as connection:
        connection.execute(APPEND, (STREAMS, ROWS_A_STREAM))
    return asyncio.run(_rate(cluster, seconds)), ROWS_A_SECOND


async def _rate(cluster: Cluster, seconds: float) -> float:
    async with connected(cluster.settings(DATABASE), VERIFIERS) as connections:
        heads, _ = await repo.heads(connections[0])
        longest = sorted(heads, key=lambda head: -head.seq)[:STREAMS]
        began, rows = monotonic(), 0
        while monotonic() < began + seconds:
            reports = await repo.verify_all(connections, longest)
            if not all(report.is_whole for report in reports):
                raise RuntimeError(f"a chain is broken: {reports}")
            rows += sum(report.checked for report in reports)
        return rows / (monotonic() - began)
