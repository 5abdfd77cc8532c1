"""Placing into a database that holds ten million orders already, against an empty one."""

from statistics import median
from typing import Any

from bench.bench_cluster import ACCOUNTS, DATABASE, MASTER_DATA, SIMULATED_DISK, superuser
from bench.templates import Template, say, served
from bench.throughput import pgbench
from fixtures_postgres import Cluster

from app.services import database_setup

NAME = "place_10m_vs_empty"
GOAL = 0.9
EMPTY = "bench_empty"
CLIENTS = 8
ORDERS = 10_000_000
TEMPLATE = Template(
    "orders_10m", "fill_orders.sql", {"accounts": ACCOUNTS, "orders": ORDERS},
    master_data=MASTER_DATA.format(accounts=ACCOUNTS), empty=(EMPTY,), disk_gib=14,
)  # fmt: skip
# A new price, no order that is open, nothing owed. Through indexes: ten million rows lie around.
FRESHEN = """
INSERT INTO market.last_prices (instrument_id, price, source, source_at)
SELECT instrument_id, 100, 'quantconnect', clock_timestamp() FROM app.instruments
ON CONFLICT (instrument_id) DO UPDATE SET received_at = clock_timestamp();
UPDATE app.orders SET status = 'canceled'
WHERE status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired');
TRUNCATE app.events_outbox;
"""


def measured(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure in alternating rounds; the first one only warms up."""
    folder = TEMPLATE.ensure()
    with served(folder, in_memory=True) as cluster:
        for database in (DATABASE, EMPTY):
            database_setup.migrate(cluster.settings(database))
        with superuser(cluster, autocommit=True) as connection:
            # Its moments would fall into some rounds and not into others.
            for statement in ("ALTER SYSTEM SET autovacuum = off", *SIMULATED_DISK):
                connection.execute(statement)
            kept = connection.execute("SELECT count(*) FROM app.orders").fetchone()
        if kept != (ORDERS,):
            raise RuntimeError(f"the template holds {kept} orders")
        pairs = [_round(cluster, seconds if it else 1) for it in range(rounds + 1)][1:]
    ratio = median(full / empty for full, empty in pairs)
    full, empty = (median(side) for side in zip(*pairs, strict=True))
    say(
        f"{'ok  ' if ratio >= GOAL else 'MISS'} {NAME:30} {ratio:7.2f}  goal {GOAL:5}"
        f"  {full:9,.0f}/s against {empty:9,.0f}/s"
    )
    return {
        "name": NAME, "ratio": round(ratio, 3), "goal": GOAL, "higher_is_better": True,
        "ours_per_s": round(full, 1), "other_per_s": round(empty, 1),
    }  # fmt: skip


def _round(cluster: Cluster, seconds: float) -> tuple[float, float]:
    full, empty = (_placed(cluster, database, seconds) for database in (DATABASE, EMPTY))
    return full, empty


def _placed(cluster: Cluster, database: str, seconds: float) -> float:
    with superuser(cluster, autocommit=True, database=database) as connection:
        connection.execute(FRESHEN.encode())
        connection.execute("VACUUM ANALYZE app.streams, app.events_outbox")
        connection.execute("CHECKPOINT")
    return pgbench(
        cluster, "place.sql", clients=CLIENTS, seconds=seconds, role="app_write", database=database
    )
