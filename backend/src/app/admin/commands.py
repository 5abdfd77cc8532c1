"""What each command does: one call of the API, or a few."""

from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from app.admin.arguments import LIMITS
from app.admin.client import Api, Failed, Refused
from app.admin.csv_lines import mistakes_of, read_lines

Rows = list[dict[str, Any]]
# topic -> the path of its list, and the columns that `show` looks into
TOPICS = {
    "users": ("users", ("email", "user_id")),
    "accounts": ("accounts", ("account_id", "name")),
    "instruments": ("instruments", ("symbol",)),
    "strategies": ("strategies", ("account_id", "strategy_id")),
    "members": ("members", ("account_id", "email", "user_id")),
    "limits": ("limits", ("account_id",)),
    "allow-list": ("allow-lists", ("account_id",)),
    "cash": ("cash", ("account_id",)),
    "queue": ("outbox", ("event_id", "account_id", "order_id")),
    "breaks": ("recon-breaks", ("break_id", "account_id")),
    "notifications": ("notifications", ("channel_id", "email", "name")),
}
MAY = {"trade": True, "look": False, "nothing": None}
PATHS = {"halt": "/api/trading/halt", "reduce": "/api/trading/reduce",
         "resume": "/api/trading/resume"}  # fmt: skip


def run(api: Api, said: Namespace) -> Rows:
    """Do what was said; returns what is to be printed."""
    if said.topic == "import":
        return import_file(api, said)
    if said.topic in TOPICS and said.verb in ("list", "show"):
        return listed(api, said)
    return COMMANDS[said.topic, said.verb](api, said)


def listed(api: Api, said: Namespace) -> Rows:
    """Show master data."""
    path, columns = TOPICS[said.topic]
    rows = list(api.rows(path))
    if said.verb == "list":
        return rows
    found = [row for row in rows if said.key in (row[column] for column in columns)]
    if not found:
        raise Failed(f"there is no {said.key} among the {said.topic}")
    return found


def create_account(api: Api, said: Namespace) -> Rows:
    """Make or rename an account."""
    body = {
        "name": said.name,
        "currency": said.currency,
        "route": said.route,
        "broker_account": said.broker_account,
        "paper": not said.live,
        "broker": said.broker,
    }
    return [api.put("accounts", body)]


def create_instrument(api: Api, said: Namespace) -> Rows:
    """Make or change an instrument."""
    body = {
        "symbol": said.symbol,
        "name": said.name,
        "currency": said.currency,
        "tick_size": said.tick_size,
        "lot_size": said.lot_size,
        "multiplier": said.multiplier,
        "tradable": not said.not_tradable,
    }
    return [api.put("instruments", body)]


def create_strategy(api: Api, said: Namespace) -> Rows:
    """Make a strategy."""
    return [api.put("strategies", {"account_id": said.account, "name": said.name})]


def set_member(api: Api, said: Namespace) -> Rows:
    """Say what a user may do in an account."""
    user_id = _user_id(api, said.user)
    can_trade = MAY[said.may]
    api.put("members", {"account_id": said.account, "user_id": user_id, "can_trade": can_trade})
    return [{"account_id": said.account, "user_id": user_id, "may": said.may}]


def limit_user(api: Api, said: Namespace) -> Rows:
    """Limit how fast a user places orders."""
    user_id = _user_id(api, said.user)
    body = {"user_id": user_id, "orders_per_minute_max": said.orders_per_minute_max}
    api.put("user-rates", body)
    return [body]


def _user_id(api: Api, user: str) -> str:
    if "@" not in user:
        return user
    found = _ids(api, "users", "email", "user_id").get(user.lower())
    if found is None:
        raise Failed(f"there is no user {user}")
    return found


def set_limits(api: Api, said: Namespace) -> Rows:
    """Change the limits that were named, and keep the others."""
    named = {name: getattr(said, name) for name in LIMITS if getattr(said, name) is not None}
    if not named:
        raise Failed("name at least one limit")
    body = {"account_id": said.account, **named}
    api.put("limits", body)
    return [body]


def set_allow_list(api: Api, said: Namespace) -> Rows:
    """Say what an account may trade."""
    body = {"account_id": said.account, "symbols": said.symbols}
    api.put("allow-list", body)
    return [body]


def book_cash(api: Api, said: Namespace) -> Rows:
    """Book cash once."""
    body = {
        "account_id": said.account,
        "currency": said.currency,
        "amount": said.amount,
        "kind": said.kind,
        "reference": said.reference,
    }
    return [{**body, **api.post("/api/admin/cash", body)}]


def import_file(api: Api, said: Namespace) -> Rows:
    """Send all lines of a file, or say what is wrong in which line."""
    lookups = {
        "account": lambda: _ids(api, "accounts", "name", "account_id"),
        "email": lambda: _ids(api, "users", "email", "user_id"),
    }
    lines, mistakes = read_lines(Path(said.file), said.kind, lookups)
    body = {
        "kind": said.kind,
        "dry_run": said.dry_run or bool(mistakes),
        "lines": [line.values for line in lines],
    }
    broken = {mistake.line for mistake in mistakes}
    try:
        done = api.post("/api/data/import", body)
    except Refused as refusal:
        if refusal.problem.get("code") != "import_refused":
            raise
        # A line that could not be read is not blamed twice.
        found = mistakes_of(refusal.problem, lines)
        mistakes += [it for it in found if it.line not in broken]
    if mistakes:
        mistakes.sort(key=lambda it: it.line)
        raise Failed("\n".join([*map(str, mistakes), "nothing was imported"]))
    return [done]


def _ids(api: Api, kind: str, name: str, identifier: str) -> dict[str, str]:
    return {row[name]: row[identifier] for row in api.rows(kind)}


def create_token(api: Api, said: Namespace) -> Rows:
    """Make a service token; what is printed is the only copy."""
    body = {
        "user_id": _user_id(api, said.user),
        "name": said.name,
        "scopes": said.scope,
        "account_ids": said.account,
        "expires_at": (datetime.now(UTC) + timedelta(days=said.days)).isoformat(),
    }
    return [{**api.post("/api/admin/tokens", body), "expires_at": body["expires_at"]}]


def list_tokens(api: Api, _: Namespace) -> Rows:
    """Show every service token, without the token itself."""
    return list(api.rows("tokens"))


def revoke_token(api: Api, said: Namespace) -> Rows:
    """End a service token."""
    api.post(f"/api/admin/tokens/{said.token}/revoke", {})
    return [{"token_id": said.token, "revoked": True}]


def requeue(api: Api, said: Namespace) -> Rows:
    """Let a row of the outbox go on now."""
    return [{"event_id": said.event, **api.post(f"/api/admin/outbox/{said.event}/requeue", {})}]


def lost_orders(api: Api, _: Namespace) -> Rows:
    """Show the orders that need an operator."""
    return list(api.rows("lost-orders"))


def resolve_order(api: Api, said: Namespace) -> Rows:
    """Say what became of a lost order, or have the broker asked again."""
    status = "submit_unknown" if said.status == "ask" else said.status
    body = {"status": status, "reason": said.reason}
    return [{"order_id": said.order, **api.post(f"/api/admin/orders/{said.order}/resolve", body)}]


def resolve_break(api: Api, said: Namespace) -> Rows:
    """Say what a break was."""
    api.post(f"/api/admin/recon-breaks/{said.break_id}/resolve", {"reason": said.reason})
    return [{"break_id": said.break_id, "state": "resolved"}]


def my_channels(api: Api, _: Namespace) -> Rows:
    """Show one's own channels; nobody is shown an address."""
    rows: Rows = api.get("/api/notifications")["items"]
    return rows


def set_channel(api: Api, said: Namespace) -> Rows:
    """Make or change a channel; its address is no argument, for those are seen by others."""
    body: dict[str, Any] = {
        "kinds": said.kind,
        "account_ids": said.account,
        "interval_s": said.interval,
        "enabled": not said.off,
    }
    if said.address_file:
        file = Path("/dev/stdin" if said.address_file == "-" else said.address_file)
        body["url"] = file.read_text().strip()
    api.change("PUT", f"/api/notifications/{said.name}", body)
    return [row for row in my_channels(api, said) if row["name"] == said.name]


def test_channel(api: Api, said: Namespace) -> Rows:
    """Send a test message."""
    api.change("POST", f"/api/notifications/{said.name}/test", {})
    return [{"name": said.name, "queued": "a test message"}]


def end_channel(api: Api, said: Namespace) -> Rows:
    """Forget a channel of one's own."""
    api.change("DELETE", f"/api/notifications/{said.name}")
    return [{"name": said.name, "ended": True}]


def change_channel(api: Api, said: Namespace) -> Rows:
    """Requeue or remove anyone's."""
    api.change("POST", f"/api/admin/notifications/{said.channel}/{said.verb}", {})
    return [{"channel_id": said.channel, "done": said.verb}]


def cancel_all(api: Api, said: Namespace) -> Rows:
    """Cancel every open order of an account."""
    key = said.key or uuid4().hex
    return [api.post("/api/orders/cancel-all", {"account_id": said.account}, key=key)]


def switch(api: Api, said: Namespace) -> Rows:
    """Halt, reduce or resume."""
    scope, scope_id = scope_of(said)
    body: dict[str, Any] = {"scope": scope, "scope_id": scope_id, "reason": said.reason}
    if getattr(said, "cancel_open", False):
        body["cancel_open"] = True
    return [api.post(PATHS[said.verb], body)]


def scope_of(said: Namespace) -> tuple[str, str]:
    """Say what a switch is about."""
    if said.account is not None:
        return "account", said.account
    return ("global", "0") if said.strategy is None else ("strategy", said.strategy)


def trading_status(api: Api, said: Namespace) -> Rows:
    """Show the switches that are not active."""
    return [row for row in api.rows("trading-states") if row["state"] != "active"]


def verify_audit(api: Api, said: Namespace) -> Rows:
    """Recompute the audit chains; a broken one fails the command."""
    body = {"account_id": said.account} if said.account else {}
    found = api.post("/api/audit/verify", body)
    return verdict(found["chains"], found["rows"], found["seconds"], found["broken"])


def verdict(chains: int, rows: int, seconds: float, broken: Rows) -> Rows:
    """Say how much was verified and how fast, or fail with what is broken."""
    if broken:
        lines = (", ".join(f"{name} {value}" for name, value in row.items()) for row in broken)
        raise Failed("\n".join(["the audit log is not as it was:", *lines]))
    rate = round(rows / seconds) if seconds else rows
    return [{"chains": chains, "rows": rows, "seconds": seconds, "rows_per_s": rate, "whole": True}]


def export_order(api: Api, said: Namespace) -> Rows:
    """Show the history of an order with its proof."""
    return [api.get(f"/api/audit/orders/{said.order}")]


COMMANDS: dict[tuple[str, str], Callable[[Api, Namespace], Rows]] = {
    ("accounts", "create"): create_account,
    ("instruments", "create"): create_instrument,
    ("strategies", "create"): create_strategy,
    ("members", "set"): set_member,
    ("users", "limit"): limit_user,
    ("limits", "set"): set_limits,
    ("allow-list", "set"): set_allow_list,
    ("cash", "book"): book_cash,
    ("token", "create"): create_token,
    ("token", "list"): list_tokens,
    ("token", "revoke"): revoke_token,
    ("orders", "cancel-all"): cancel_all,
    ("orders", "lost"): lost_orders,
    ("orders", "resolve"): resolve_order,
    ("queue", "requeue"): requeue,
    ("breaks", "resolve"): resolve_break,
    ("notifications", "mine"): my_channels,
    ("notifications", "set"): set_channel,
    ("notifications", "test"): test_channel,
    ("notifications", "end"): end_channel,
    ("notifications", "requeue"): change_channel,
    ("notifications", "remove"): change_channel,
    ("trading", "halt"): switch,
    ("trading", "reduce"): switch,
    ("trading", "resume"): switch,
    ("trading", "status"): trading_status,
    ("audit", "verify"): verify_audit,
    ("audit", "export"): export_order,
}
