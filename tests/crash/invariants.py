"""The invariants: what our books must say once all is quiet, by themselves and against the venue's.

1 what was acknowledged is there, under the same id     2 no order is twice at the venue, none at
only one side   3 an order's quantity is its executions', ours and the venue's   4 positions and
cash are what executions make them, and the venue's   5 the audit chains are whole   6 nothing is
owed and nothing waits   7 every write has its audit row
"""

import collections
from decimal import Decimal
from typing import Any

import asyncpg

ENDED = ("filled", "denied", "canceled", "rejected", "expired", "lost")

BOOKS = {
    "an order's quantity differs from its executions": """
        SELECT o.client_order_id FROM app.orders AS o
        LEFT JOIN LATERAL (
            SELECT sum(h.quantity) AS q
            FROM app.sp_executions_held(ARRAY[o.account_id], o.instrument_id) AS h
            WHERE h.order_id = o.order_id
        ) AS e ON TRUE
        WHERE o.status <> 'denied' AND o.cum_quantity <> coalesce(e.q, 0)""",
    "an order has not ended": """
        SELECT client_order_id || ' ' || status FROM app.orders
        WHERE status NOT IN ('filled', 'denied', 'canceled', 'rejected', 'expired', 'lost')""",
    "an order is filled in part and called filled": """
        SELECT client_order_id FROM app.orders
        WHERE status = 'filled' AND cum_quantity <> quantity""",
    "a figure is not what its rows make it": """
        SELECT f.account_id || ' ' || f.figure || ' ' || f.subject
        FROM app.sp_integrity_find((SELECT array_agg(account_id) FROM app.accounts)) AS f""",
    "an audit chain is broken": """
        SELECT s.stream_id::text FROM app.streams AS s
        CROSS JOIN LATERAL app.sp_audit_verify(s.stream_id) AS v
        WHERE v.broken_seq IS NOT NULL""",
    "a row is still owed": "SELECT event_id || ' ' || kind FROM app.events_outbox",
    "a lane is still parked": "SELECT stream_id || ' ' || last_error FROM app.outbox_parked",
    "a report is not applied": "SELECT inbox_id::text FROM app.inbox WHERE applied_at IS NULL",
    "a difference to the venue has not ended": """
        SELECT a.broker_account || ' ' || b.figure || ' ' || b.subject || ': ' || b.ours
            || ' here, ' || b.theirs || ' there'
        FROM app.recon_breaks AS b JOIN app.accounts AS a USING (account_id)
        WHERE b.state IN ('suspected', 'open')""",
    "an order was given up": "SELECT event_id::text FROM app.events_dead",
    "an order has not one audit row of its placing": """
        SELECT o.client_order_id FROM app.orders AS o
        LEFT JOIN (
            SELECT detail ->> 'order_id' AS order_id, count(*) AS n
            FROM audit.audit_log WHERE action = 'order.place' GROUP BY 1
        ) AS a ON a.order_id = o.order_id::text
        WHERE a.n IS DISTINCT FROM 1""",
    "an execution has not one audit row": """
        SELECT e.exec_base FROM app.executions AS e
        LEFT JOIN (
            SELECT detail ->> 'execution_id' AS id, count(*) AS n
            FROM audit.audit_log WHERE action LIKE 'execution.%' GROUP BY 1
        ) AS a ON a.id = e.execution_id::text
        WHERE a.n IS DISTINCT FROM 1""",
    "the audit trail of an order does not end in its state": """
        SELECT o.client_order_id || ' ' || o.status FROM app.orders AS o
        LEFT JOIN LATERAL (
            SELECT a.action FROM audit.audit_log AS a
            WHERE a.stream_id = o.account_id AND a.detail ->> 'order_id' = o.order_id::text
                AND a.detail ? 'status_before'
            ORDER BY a.seq DESC LIMIT 1
        ) AS a ON TRUE
        WHERE a.action IS DISTINCT FROM 'order.' || o.status""",
}


async def breaches(
    database: asyncpg.Connection,
    orders: list[dict[str, Any]],
    accounts: list[dict[str, Any]],
    acknowledged: dict[str, str],
) -> list[str]:
    """Every breach of an invariant, over everything this platform has done so far."""
    found = [
        f"{title}: {row[0]}"
        for title, query in BOOKS.items()
        for row in await database.fetch(query)
    ]
    rows = await database.fetch("SELECT * FROM app.orders")
    ours = {row["client_order_id"]: row for row in rows}
    found += [
        f"acknowledged order {key} is not in the books"
        for key, order_id in acknowledged.items()
        if key not in ours or str(ours[key]["order_id"]) != order_id
    ]
    counted = collections.Counter(order["client_order_id"] for order in orders)
    found += [f"{key} is {n} times at the venue" for key, n in counted.items() if n > 1]
    found += [f"{key} is at the venue only" for key in counted.keys() - ours.keys()]
    filled: collections.Counter[str] = collections.Counter()
    for order in orders:
        filled[order["client_order_id"]] += Decimal(order["cum_quantity"])  # type: ignore[assignment]
    found += [
        f"{key} {row['status']}: {row['cum_quantity']} executed here, {filled[key]} at the venue"
        for key, row in ours.items()
        if row["cum_quantity"] != filled[key]
    ]
    return found + await holdings(database, accounts)


async def holdings(database: asyncpg.Connection, accounts: list[dict[str, Any]]) -> list[str]:
    """Where positions and cash differ from the venue's."""
    found = []
    for account in accounts:
        number = str(account["project_id"])
        positions = await database.fetch(
            "SELECT i.symbol, p.quantity FROM app.positions AS p"
            " JOIN app.instruments AS i USING (instrument_id)"
            " JOIN app.accounts AS a USING (account_id) WHERE a.broker_account = $1",
            number,
        )
        held = {row["symbol"]: row["quantity"] for row in positions if row["quantity"]}
        theirs = {s: Decimal(q) for s, q in account["positions"].items() if Decimal(q)}
        if held != theirs:
            found.append(f"account {number} holds {held}, at the venue {theirs}")
        cash = await database.fetchval(
            "SELECT b.amount FROM app.cash_balances AS b JOIN app.accounts AS a USING (account_id)"
            " WHERE a.broker_account = $1",
            number,
        )
        if cash != Decimal(account["cash"]):
            found.append(f"account {number} has {cash}, at the venue {account['cash']}")
    return found
