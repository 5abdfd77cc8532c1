"""Reads a statement as the screen does, with row security or past it, and looks at its plans."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any
from uuid import UUID

import psycopg
from bench.readers import Statement, screen
from fixtures_postgres import Cluster
from psycopg import sql
from read_tokens import sign

# May read what app_read may read, and all rows of it.
FREE_ROLE = "bench_free"
FREE_PASSWORD = "bench"
MAKE_FREE_ROLE = f"""
DO $$
BEGIN
    IF to_regrole('{FREE_ROLE}') IS NULL THEN
        CREATE ROLE {FREE_ROLE} LOGIN;
    END IF;
END
$$;
ALTER ROLE {FREE_ROLE} BYPASSRLS INHERIT PASSWORD '{FREE_PASSWORD}';
GRANT app_read TO {FREE_ROLE};
"""
# Tables that grow without end. Where a partition is meant, its name begins with its parent's.
LARGE = ("orders", "executions", "order_events", "audit_log", "bars", "equity", "events_done")
# A scan of less is no sin.
ROWS_MIN = 5_000


@dataclass(frozen=True)
class Reader:
    """A connection that reads as ro_db's, one READ ONLY transaction a statement."""

    connection: psycopg.Connection
    user_id: str
    token: str
    # Count the CPU time of both sides, which others on a busy machine do not disturb.
    by_cpu: bool = False

    def clock(self) -> float:
        """Return seconds, by the wall or by what client and backend have worked."""
        if not self.by_cpu:
            return perf_counter()
        worked = Path(f"/proc/{self.connection.info.backend_pid}/schedstat").read_text()
        return thread_time() + int(worked.split()[0]) / 1e9

    def read(self, statement: Statement) -> tuple[list[Any], float, float]:
        """Return rows, seconds of the whole transaction, and seconds of the statement alone."""
        database = screen("services.database")
        started = self.clock()
        with self.connection.transaction():
            timeout = str(database.STATEMENT_TIMEOUT_MS)
            self.connection.execute(database.SET_READER, (timeout, self.user_id, self.token))
            asked = self.clock()
            query = statement.query.encode()
            rows = self.connection.execute(query, statement.arguments).fetchall()
            answered = self.clock()
            if not rows and self.connection.execute(database.TOKEN_IS_GOOD).fetchone() != (True,):
                raise RuntimeError("the database does not believe the token")
        return rows, self.clock() - started, answered - asked


@contextmanager
def reader(
    cluster: Cluster,
    database: str,
    role: str,
    user_id: UUID,
    *,
    valid_s: float = 3600,
    by_cpu: bool = False,
) -> Iterator[Reader]:
    """Connect as a role that reads with the signed token of a user."""
    password = FREE_PASSWORD if role == FREE_ROLE else cluster.password(role)
    key = cluster.settings(database).secret("db_token_key")
    with psycopg.connect(
        host=cluster.host, port=cluster.port, dbname=database, user=role, password=password,
        options="-c TimeZone=UTC",
    ) as connection:  # fmt: skip
        connection.read_only = True
        yield Reader(connection, str(user_id), sign(key, user_id, valid_s=valid_s), by_cpu)


@contextmanager
def on_one_core(*readers: Reader) -> Iterator[None]:
    """Let client and backends share a core: who has to wake another one is chance, and dear."""
    cores = os.sched_getaffinity(0)
    for process in (0, *(it.connection.info.backend_pid for it in readers)):
        os.sched_setaffinity(process, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def as_user(cluster: Cluster, of: Reader, user_id: UUID, *, valid_s: float = 3600) -> Reader:
    """Return the same connection with the token of another user, or another token."""
    key = cluster.settings(of.connection.info.dbname).secret("db_token_key")
    return replace(of, user_id=str(user_id), token=sign(key, user_id, valid_s=valid_s))


def plans(superuser: psycopg.Connection, reader: Reader, statement: Statement) -> list[Any]:
    """Run a statement as app_read; return all plans of it, those inside of functions too.

    Planned for its arguments and, as of a statement that is prepared once, for any.
    """
    found: list[Any] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        message = diagnostic.message_primary or ""
        if message.startswith("duration:"):
            found.append(json.loads(message[message.index("{") :]))

    superuser.add_notice_handler(note)
    superuser.execute("LOAD 'auto_explain'")
    settings = {
        "auto_explain.log_min_duration": "0", "auto_explain.log_nested_statements": "on",
        "auto_explain.log_format": "json", "auto_explain.log_level": "notice",
    }  # fmt: skip
    for mode in ("force_custom_plan", "force_generic_plan"):
        with superuser.transaction():
            database = screen("services.database")
            superuser.execute(database.SET_READER, ("60000", reader.user_id, reader.token))
            for name, value in ({"plan_cache_mode": mode} | settings).items():
                superuser.execute("SELECT set_config(%s, %s, TRUE)", [name, value])
            superuser.execute("SET LOCAL ROLE app_read")
            superuser.execute(statement.query.encode(), statement.arguments, prepare=True)
            superuser.execute("RESET ROLE")
    superuser.remove_notice_handler(note)
    return found


def time_limit_s() -> float:
    """Return after how many seconds the screen gives a question up."""
    return float(screen("services.database").STATEMENT_TIMEOUT_MS) / 1000


def scans(plan: Any) -> Iterator[str]:
    """Return which relations a plan reads from end to end."""
    if isinstance(plan, dict):
        whole = plan.get("Node Type") in ("Seq Scan", "Sample Scan") or (
            plan.get("Node Type") in ("Index Scan", "Index Only Scan")
            and "Index Cond" not in plan
            and "Order By" not in plan
        )
        if whole and "Relation Name" in plan:
            yield plan["Relation Name"]
        for value in plan.values():
            yield from scans(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from scans(value)


def large_relations(superuser: psycopg.Connection) -> set[str]:
    """Return the tables and partitions that no reader may read from end to end."""
    query = sql.SQL(
        "SELECT c.relname FROM pg_catalog.pg_class AS c WHERE c.relkind IN ('r', 'm')"
        " AND c.relnamespace IN ('app'::regnamespace, 'audit'::regnamespace,"
        " 'market'::regnamespace) AND c.reltuples >= %s"
    )
    return {name for (name,) in superuser.execute(query, [ROWS_MIN])}
