"""Deploys, watches and stops bridges; side effect: QuantConnect, and Postgres as app_migrate.

What was begun and how it ended is audited, each by a procedure. Secrets leave to QuantConnect
alone: neither rows nor progress nor errors hold them.
"""

import getpass
import hashlib
import json
import os
import re
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
from pydantic import ValidationError

from app.admin.client import Failed
from app.admin.commands import Rows
from app.admin.direct import connected
from app.core.settings import MissingSecret, Settings, is_loopback, load_settings
from app.services.database_setup import REPOSITORY_DIR
from app.services.qc_api import (
    Json,
    QuantConnectApi,
    QuantConnectAuthFailed,
    QuantConnectError,
    QuantConnectUnclear,
    QuantConnectUnreached,
)
from app.services.qc_deployment import (
    INTERACTIVE_BROKERS,
    PAPER,
    Deployed,
    Deployer,
    Plan,
    read_bridge,
)

BRIDGE_DIR = REPOSITORY_DIR / "ops" / "quantconnect"
WEBHOOK_PATH = "/api/webhooks/quantconnect"
LOG_PAGE, LOG_LINES_MAX = 250, 10_000
# The worker takes a bridge for dead after 150 s of silence.
INTERVAL_MAX_S = 120
# Interactive Brokers restarts no later than this.
RESTART = re.compile(r"(([01]\d|2[0-2]):[0-5]\d|23:[0-2]\d):[0-5]\d|23:30:00")
REMEDIES = (
    (QuantConnectAuthFailed, "check QC_USER_ID, the secret qc_token and this machine's clock"),
    (QuantConnectUnreached, "is QC_URL right, and the network there?"),
    (QuantConnectUnclear, "nobody knows whether it was done: look with quantconnect status"),
)


@dataclass(frozen=True)
class Desk:
    """What the commands share."""

    settings: Settings
    api: QuantConnectApi
    deployer: Deployer


def run(said: Namespace) -> Rows:
    """Do what was said."""
    try:
        settings = load_settings(app_env=os.environ.get("APP_ENV") or "production")
        token = settings.secret("qc_token")
    except (MissingSecret, ValidationError) as error:
        raise Failed(str(error)) from error
    api = QuantConnectApi(url=settings.qc_url, user_id=settings.qc_user_id, token=token)
    try:
        return COMMANDS[said.verb](Desk(settings, api, Deployer(api, _say)), said)
    except QuantConnectError as error:
        remedy = next((it for kind, it in REMEDIES if isinstance(error, kind)), "")
        raise Failed(f"{error}; {remedy}" if remedy else str(error)) from error
    finally:
        api.close()


def _say(step: str) -> None:
    sys.stderr.write(f"{step}\n")
    sys.stderr.flush()


def _create(desk: Desk, said: Namespace) -> Rows:
    answer = desk.api.call("projects/create", name=said.name, language="Py")
    project = answer["projects"][0]
    return [{"project_id": project["projectId"], "name": project["name"]}]


def _logs(desk: Desk, said: Namespace) -> Rows:
    live = desk.deployer.live(said.project)
    if live is None:
        raise Failed(f"project {said.project} was never deployed")
    lines = desk.api.pages(
        "live/logs/read", "logs", size=LOG_PAGE, start="startLine", end="endLine",
        projectId=said.project, algorithmId=live["deployId"], format="json",
    )  # fmt: skip
    return [{"line": str(line)} for _, line in zip(range(LOG_LINES_MAX), lines, strict=False)]


def _status(desk: Desk, said: Namespace) -> Rows:
    with connected() as (connection, _):
        heard = {
            source: (deploy_id, epoch, heard_at)
            for source, deploy_id, epoch, _, heard_at in connection.execute(
                "SELECT * FROM app.sp_bridges()"
            )
        }
    if said.project is None:
        found = desk.api.call("live/list", status="Running")["live"]
    else:
        live = desk.deployer.live(said.project)
        found = [] if live is None else [live]
    return [_row(it, heard.get(f"qc:{it['projectId']}")) for it in found]


def _row(live: Json, heard: tuple[str, int, datetime] | None) -> dict[str, Any]:
    deploy_id, epoch, heard_at = heard or (None, None, None)
    silent = heard_at and round((datetime.now(UTC) - heard_at).total_seconds())
    return {
        "project_id": live["projectId"],
        "status": live["status"],
        "deploy_id": live["deployId"],
        "brokerage": live["brokerage"],
        "launched": live["launched"],
        "heard": deploy_id == live["deployId"],
        "silent_s": silent,
        "epoch": epoch,
    }


# --- deploying ------------------------------------------------------------------------------


def _deploy(desk: Desk, said: Namespace) -> Rows:
    plan = _plan(desk.settings, desk.api.host, said)
    running = desk.deployer.running(said.project)
    if running is not None and not said.replace:
        raise Failed(
            f"deployment {running['deployId']} of project {said.project} is {running['status']}"
            f" since {running['launched']}; --replace stops it and takes its place (positions and"
            " open orders stay)"
        )
    with connected() as (connection, actor):
        source = f"qc:{said.project}"
        detail = {"brokerage": plan.brokerage["id"], "bridge_sha256": _digest(plan.files)}
        epoch, symbols = _begin(connection, actor, source, detail)
        if not symbols:
            raise Failed(f"the account of project {said.project} may trade no instrument")
        plan.parameters.update(epoch=str(epoch), symbols=",".join(symbols))
        note = _noting(connection, actor, source, epoch)
        with _noted(note, "deploy"):
            done = _run(desk.deployer, plan, running is not None, note)
        note("deployed", deploy_id=done.deploy_id, node_id=done.node_id, brokerage=done.brokerage)
    return [{**asdict(done), "epoch": epoch, "symbols": len(symbols)}]


def _run(deployer: Deployer, plan: Plan, replacing: bool, note: "Note") -> Deployed:
    """Whatever can fail before something live changes comes before it."""
    node_id = deployer.node_for(plan, replacing=replacing)
    compile_id = deployer.prepare(plan)
    if replacing:
        note("stopping")
        ended = deployer.stop(plan.project_id) or {}
        note("stopped", status=ended.get("status"), deploy_id=ended.get("deployId"))
    return deployer.start(plan, compile_id, node_id)


def _plan(settings: Settings, host: str, said: Namespace) -> Plan:
    webhook_url = said.webhook_url or settings.public_url + WEBHOOK_PATH
    parts = urlsplit(webhook_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failed(f"{webhook_url} is no address for webhooks")
    if is_loopback(parts.hostname) and not is_loopback(host):
        raise Failed(
            f"QuantConnect cannot reach {webhook_url}: set PUBLIC_URL to this installation's public"
            " address, or name one by --webhook-url"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise Failed(f"orders must not travel in the clear: {webhook_url} is not https")
    if not 1 <= said.interval <= INTERVAL_MAX_S:
        raise Failed(f"--interval is 1 to {INTERVAL_MAX_S} seconds")
    secret = _secret(settings, "webhook_hmac")
    return Plan(
        project_id=said.project,
        files=read_bridge(BRIDGE_DIR),
        parameters={
            "webhook_url": webhook_url,
            "webhook_secret": secret,
            "source": f"qc:{said.project}",
            "interval_s": str(said.interval),
            "brokerage": said.brokerage,
        },
        brokerage=_paper(said) if said.brokerage == "paper" else _interactive(settings, said),
        data_provider=INTERACTIVE_BROKERS if said.ib_data else PAPER,
        node_id=said.node,
        smoke=said.smoke,
    )


def _paper(said: Namespace) -> Json:
    if said.ib_user or said.ib_account or said.ib_data:
        raise Failed("--ib-user, --ib-account and --ib-data go with --brokerage ib")
    if said.cash is None:
        return {"id": PAPER}
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,2})?", said.cash):
        raise Failed("--cash is an amount like 100000")
    return {"id": PAPER, "cash": [{"amount": float(said.cash), "currency": "USD"}]}


def _interactive(settings: Settings, said: Namespace) -> Json:
    if said.cash is not None:
        raise Failed("--cash is for QuantConnect's paper account alone")
    if not (said.ib_user and said.ib_account):
        raise Failed("--brokerage ib needs --ib-user and --ib-account")
    if not RESTART.fullmatch(said.ib_restart):
        raise Failed("--ib-restart is a time like 21:00:00, no later than 23:30:00 UTC")
    mode = "paper" if said.ib_account.upper().startswith("DU") else "live"
    return {
        "id": INTERACTIVE_BROKERS,
        "ib-trading-mode": mode,
        "ib-user-name": said.ib_user,
        "ib-account": said.ib_account,
        "ib-password": _ib_password(settings),
        "ib-weekly-restart-utc-time": said.ib_restart,
    }


def _ib_password(settings: Settings) -> str:
    """Read it from a secret file, or ask; a command line would show it to everybody."""
    path = settings.secrets_dir and settings.secrets_dir / "ib_password"
    if path and path.is_file():
        return path.read_text().strip()
    if not sys.stdin.isatty():
        raise Failed(f"the password at Interactive Brokers is missing: put it into {path}")
    return getpass.getpass("Password at Interactive Brokers: ")


# --- stopping -------------------------------------------------------------------------------


def _stop(desk: Desk, said: Namespace) -> Rows:
    running = desk.deployer.running(said.project)
    if running is None:
        raise Failed(f"nothing runs in project {said.project}")
    with connected() as (connection, actor):
        source = f"qc:{said.project}"
        epoch = _epoch_heard(connection, source) if said.cancel_orders else None
        note = _noting(connection, actor, source, epoch)
        how = "cancel" if said.cancel_orders else "liquidate" if said.liquidate else "stop"
        note("stopping", deploy_id=running["deployId"], how=how)
        with _noted(note, "stop"):
            if epoch is not None:
                ended = desk.deployer.quit(
                    said.project, secret=_secret(desk.settings, "webhook_hmac"), epoch=epoch,
                    command_id=uuid.uuid4().hex,
                )  # fmt: skip
            else:
                ended = desk.deployer.stop(said.project, liquidate=said.liquidate)
        ended = ended or running
        note("stopped", deploy_id=ended["deployId"], status=ended["status"])
    return [
        {
            "project_id": said.project,
            "deploy_id": ended["deployId"],
            "status": ended["status"],
        }
    ]


def _epoch_heard(connection: psycopg.Connection, source: str) -> int:
    query = "SELECT b.epoch FROM app.sp_bridges() AS b WHERE b.source = %s"
    row = connection.execute(query, [source]).fetchone()
    if row is None:
        raise Failed(f"bridge {source} was never heard here, so it obeys us not; stop it without"
                     " --cancel-orders")  # fmt: skip
    return int(row[0])


# --- the record -----------------------------------------------------------------------------

Note = Callable[..., None]


def _begin(
    connection: psycopg.Connection, actor: str, source: str, detail: Json
) -> tuple[int, list[str]]:
    try:
        row = connection.execute(
            "SELECT epoch, symbols FROM app.sp_bridge_deploy(%s, %s, %s)",
            (actor, source, json.dumps(detail)),
        ).fetchone()
    except psycopg.Error as error:
        if error.sqlstate == "IN404":
            project = source.partition(":")[2]
            raise Failed(
                f"no account trades through project {project}: informania-admin accounts create"
                f" NAME --route quantconnect --broker-account {project}"
            ) from error
        raise
    assert row is not None  # noqa: S101 - the procedure returns one row or raises
    return int(row[0]), list(row[1])


def _noting(connection: psycopg.Connection, actor: str, source: str, epoch: int | None) -> Note:
    def note(action: str, **detail: object) -> None:
        told = {"epoch": epoch, **detail} if epoch is not None else detail
        connection.execute(
            "SELECT app.sp_bridge_note(%s, %s, %s, %s)",
            (actor, source, action, json.dumps(told)),
        )

    return note


@contextmanager
def _noted(note: Note, what: str) -> Iterator[None]:
    """Record a failure before it is told."""
    try:
        yield
    except QuantConnectUnclear as error:
        note(f"{what}_unknown" if what == "deploy" else f"{what}_failed", reason=str(error)[:500])
        raise
    except QuantConnectError as error:
        note(f"{what}_failed", reason=str(error)[:500])
        raise
    except KeyboardInterrupt:
        note(f"{what}_failed", reason="interrupted by the operator")
        raise


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _secret(settings: Settings, name: str) -> str:
    try:
        return settings.secret(name)
    except MissingSecret as error:
        raise Failed(str(error)) from error


COMMANDS: dict[str, Callable[[Desk, Namespace], Rows]] = {
    "create": _create,
    "status": _status,
    "logs": _logs,
    "deploy": _deploy,
    "stop": _stop,
}
