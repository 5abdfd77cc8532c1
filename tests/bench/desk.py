"""A desk with a past: 1,000 accounts, a million orders; of any smaller size for tests."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from bench.readers import Asked
from bench.templates import HERE, Template

SCRIPT = "fill_reads.sql"
TEMPLATE = Template(
    "reads", SCRIPT,
    {
        "accounts": 1_000, "users": 500, "orders": 1_000_000, "bars": 10_000_000, "samples": 1_460,
    },
    disk_gib=12,
)  # fmt: skip
TRADER = UUID(int=7)


def freshen(root: psycopg.Connection) -> None:
    """Make it a desk of today, which was filled some days ago."""
    root.execute((HERE / "freshen_reads.sql").read_bytes())


def administrator(root: psycopg.Connection) -> UUID:
    """Return who may read everything."""
    (found,) = root.execute("SELECT user_id FROM app.users WHERE role = 'admin' LIMIT 1")
    user_id: UUID = found[0]
    return user_id


def everything(root: psycopg.Connection, asked: Asked) -> Asked:
    """Return the same questions about all accounts, as an administrator asks them."""
    (found,) = root.execute("SELECT array_agg(account_id ORDER BY account_id) FROM app.accounts")
    return replace(asked, account_ids=tuple(found[0]))


def asked_by(root: psycopg.Connection, user_id: UUID) -> Asked:
    """Return what a user asks about: all his accounts, and their last fill."""
    query = "SELECT array_agg(account_id) FROM app.account_members WHERE user_id = %s"
    (found,) = root.execute(query, [user_id])
    account_ids = tuple(found[0])
    query = (
        "SELECT o.order_id, o.client_order_id, i.symbol FROM app.orders AS o"
        " JOIN app.instruments AS i ON i.instrument_id = o.instrument_id"
        " WHERE o.account_id = ANY (%s) AND o.status = 'filled' ORDER BY o.order_id DESC LIMIT 1"
    )
    ((order_id, client_order_id, symbol),) = root.execute(query, [list(account_ids)])
    (newest,) = root.execute("SELECT max(created_at) FROM app.orders")
    return Asked(
        account_ids, order_id, client_order_id, symbol, filled_at=newest[0], now=datetime.now(UTC)
    )
