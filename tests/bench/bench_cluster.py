"""A Postgres for measuring: in memory, with commits that take a millisecond, and master data."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from fixtures_postgres import SECRETS, Cluster
from postgres_servers import running_postgres

from app.services import database_setup

ACCOUNTS = 1_000
DATABASE = "bench"
# A commit waits a millisecond for others, as for the disk of a typical cloud machine; the noise of
# this machine's own disk stays out.
SIMULATED_DISK = (
    "ALTER SYSTEM SET commit_delay = 1000",
    "ALTER SYSTEM SET commit_siblings = 0",
    "ALTER SYSTEM SET max_wal_size = '4GB'",
    "SELECT pg_reload_conf()",
)
# Each account has a user of its own, so that neither waits for another's row; limits that nobody
# meets, but every rule is on.
MASTER_DATA = """
INSERT INTO app.users (user_id, email, role, orders_per_minute_max)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'bench' || n || '@test.informania.dev', 'trader', 1000000000
FROM generate_series(1, {accounts}) AS n;
SELECT app.sp_account_upsert('system:bench', 'Bench ' || n, 'USD', 'quantconnect', n::text, TRUE)
FROM generate_series(1, {accounts}) AS n;
INSERT INTO app.account_members (account_id, user_id, can_trade)
SELECT a.account_id, lpad(to_hex(a.broker_account::integer), 32, '0')::uuid, TRUE
FROM app.accounts AS a;
SELECT app.sp_instrument_upsert('system:bench', 'AAPL', 'Apple Inc.', 'USD', 0.01, 1, TRUE);
SELECT app.sp_cash_book('system:bench', a.account_id, 'USD', 1e11, 'opening', 'opening')
FROM app.accounts AS a;
INSERT INTO app.risk_limits (
    account_id, order_quantity_max, order_notional_max, price_collar, position_quantity_max,
    open_orders_max, orders_per_minute_max, daily_loss_max, leverage_max
)
SELECT a.account_id, 1e9, 1e11, 0.5, 1e11, 1000000000, 1000000000, 1e11, 100
FROM app.accounts AS a;
CREATE TABLE public.bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a bigint, b text);
CREATE TABLE public.audit_plain (LIKE audit.audit_log INCLUDING ALL);
GRANT INSERT ON public.bare, public.audit_plain TO app_write;
GRANT USAGE ON SCHEMA public TO app_write;
"""


@contextmanager
def bench_cluster() -> Iterator[Cluster]:
    """Run a migrated server of this run alone."""
    with tempfile.TemporaryDirectory(prefix="informania-bench-", dir="/dev/shm") as name:
        folder = Path(name)
        passwords = folder / "secrets"
        passwords.mkdir(mode=0o700)
        for secret in SECRETS:
            (passwords / secret).write_text(secrets.token_hex(32))
        with running_postgres(folder, passwords / "postgres_password") as port:
            cluster = Cluster(port, passwords)
            database_setup.bootstrap(cluster.settings(DATABASE))
            database_setup.migrate(cluster.settings(DATABASE))
            with superuser(cluster, autocommit=True) as connection:
                for statement in SIMULATED_DISK:
                    connection.execute(statement)
            with superuser(cluster) as connection:
                connection.execute(MASTER_DATA.format(accounts=ACCOUNTS))
                # As autovacuum does within a minute, so that no row is planned before that.
                connection.execute("ANALYZE")
            yield cluster


@contextmanager
def superuser(
    cluster: Cluster, *, autocommit: bool = False, database: str = DATABASE
) -> Iterator[psycopg.Connection]:
    """Connect behind every curtain."""
    dsn = (
        f"host={cluster.host} port={cluster.port} dbname={database} user=postgres"
        f" password={cluster.password('postgres')}"
    )
    with psycopg.connect(dsn, autocommit=autocommit) as connection:
        yield connection


def freshen(cluster: Cluster) -> None:
    """Between two rounds: a price that is new, no order that is open, nothing owed, no bloat."""
    with superuser(cluster, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO market.last_prices (instrument_id, price, source, source_at)"
            " SELECT instrument_id, 100, 'quantconnect', clock_timestamp() FROM app.instruments"
            " ON CONFLICT (instrument_id) DO UPDATE SET received_at = clock_timestamp()"
        )
        connection.execute(
            "UPDATE app.orders SET status = 'canceled' WHERE status NOT IN ('canceled', 'denied')"
        )
        connection.execute("TRUNCATE app.events_outbox")
        if connection.execute("SELECT to_regclass('rival.orders')").fetchone() != (None,):
            connection.execute("UPDATE rival.orders SET status = 'canceled' WHERE status = 'new'")
            connection.execute("VACUUM ANALYZE rival.orders, rival.accounts")
        connection.execute("VACUUM ANALYZE app.orders, app.streams, app.events_outbox")
        connection.execute("CHECKPOINT")
