"""QuantConnect's endpoints live/*: deployments, what they hold, and how they are stopped."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from paper.charts import EquityChart
from paper.cloud import ORGANIZATION, Cloud, Refused
from paper.engine import Deployment, Engine
from paper.launches import ALIVE, INTERACTIVE_BROKERS, PAPER, Launch
from paper.lean_tickets import tag_of
from paper.qc_json import (
    Json,
    integer,
    no_insights,
    order_json,
    orders_csv,
    page,
    portfolio_json,
    text,
)
from paper.settings import Settings
from paper.venue import Venue

PAGE_MAX, LOG_PAGE_MAX = 100, 250
OPENING_CASH = "100000"
STATUSES = ("Running", "Stopped", "RuntimeError", "Liquidated")
# What each brokerage has to be told, beside its id.
BROKERAGES = {
    PAPER: (),
    INTERACTIVE_BROKERS: (
        "ib-user-name",
        "ib-account",
        "ib-password",
        "ib-weekly-restart-utc-time",
    ),
}


class LiveEndpoints:
    """What is asked of live deployments; `handlers` and `files` name it as the path does."""

    def __init__(self, settings: Settings, venue: Venue, engine: Engine, cloud: Cloud) -> None:
        self._settings, self._venue, self._engine, self._cloud = settings, venue, engine, cloud
        self._snapshots: dict[tuple[str, str], tuple[float, Any]] = {}
        self.handlers: Mapping[str, Callable[[Json], Json]] = {
            "live/create": self._create,
            "live/read": self._read,
            "live/list": self._list,
            "live/update/stop": lambda fields: self._end(fields, liquidate=False),
            "live/update/liquidate": lambda fields: self._end(fields, liquidate=True),
            "live/orders/read": self._orders,
            "live/portfolio/read": self._portfolio_read,
            "live/logs/read": self._logs,
            "live/chart/read": self._chart,
            "live/insights/read": self._insights,
            "projects/nodes/read": lambda fields: {"nodes": self._nodes(), "autoSelectNode": True},
            "nodes/read": lambda fields: self._nodes(),
        }
        # Answered by a file: its name and what is in it.
        self.files: Mapping[str, Callable[[Json], tuple[str, str]]] = {
            "live/export/logs": self._logs_file,
            "live/export/orders": self._orders_file,
        }

    # Deployments.

    def _create(self, fields: Json) -> Json:
        project = self._cloud.project(integer(fields, "projectId", -1))
        built = self._cloud.deployable(project.project_id, text(fields, "compileId"))
        if self._alive(project.project_id) is not None:
            raise Refused("The project is already deployed live; stop it first")
        node_id, brokerage = text(fields, "nodeId"), _brokerage(fields)
        if node_id not in self._engine.node_ids:
            raise Refused("Node not found")
        if node_id in {it.node_id for it in self._engine.launches.alive()}:
            raise Refused("The node is busy with another live deployment")
        parameters = {**project.parameters, **_parameters(fields)}
        launch = Launch(
            project.project_id, node_id, brokerage=brokerage["id"],
            opening_cash=_cash(brokerage), parameters=parameters,
        )  # fmt: skip
        told = self._launch_json(launch)
        self._engine.launch(launch, built.files)
        more = {"versionId": str(fields.get("versionId", "-1")), "source": "api-v2"}
        return {**told, **more, "responseCode": "0", "live": told}

    def _end(self, fields: Json, *, liquidate: bool) -> Json:
        launch = self._alive(self._cloud.project(integer(fields, "projectId", -1)).project_id)
        if launch is None:
            raise Refused("There is no running live deployment of this project")
        self._engine.end(launch, liquidate=liquidate)
        return {}

    def _alive(self, project_id: int) -> Launch | None:
        launches = self._engine.launches.of(project_id)
        return launches[-1] if launches and launches[-1].status in ALIVE else None

    def _launch(self, fields: Json) -> Launch:
        """Find the deployment that is meant: the one that is named, or the project's last."""
        project_id = integer(fields, "projectId", -1)
        named = fields.get("deployId") or fields.get("algorithmId")
        found = [it for it in self._engine.launches.of(project_id) if named in (None, it.deploy_id)]
        if not found:
            known = project_id in self._cloud.projects
            raise Refused("The project was never deployed live" if known else "Project not found")
        return found[-1]

    def _read(self, fields: Json) -> Json:
        launch = self._launch(fields)
        project = self._cloud.projects.get(launch.project_id)
        running = self._running(launch)
        return {
            **self._launch_json(launch),
            "message": launch.message,
            "cloneId": launch.project_id,
            "securityTypes": "Equity",
            "projectName": project.name if project else "",
            "datacenter": "paper",
            "public": False,
            "files": [],
            "charts": {},
            "runtimeStatistics": running.statistics if running else {},
            "serverStatistics": {},
        }

    def _list(self, fields: Json) -> Json:
        wanted = integer(fields, "projectId", -1) if "projectId" in fields else None
        status = fields.get("status")
        if status is not None and status not in STATUSES:
            raise Refused(f"status must be one of {', '.join(STATUSES)}")
        found = [
            {**self._launch_json(it), "subscription": "", "error": it.message}
            for it in self._engine.launches.all
            if wanted in (None, it.project_id) and status in (None, it.status)
        ]
        return {"live": found}

    def _launch_json(self, launch: Launch) -> Json:
        def seconds(moment: str) -> str:
            return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S")

        return {
            "projectId": launch.project_id,
            "deployId": launch.deploy_id,
            "status": launch.status,
            "launched": seconds(launch.launched),
            "stopped": None if launch.stopped is None else seconds(launch.stopped),
            "brokerage": launch.brokerage,
        }

    def _nodes(self) -> Json:
        users = {it.node_id: it.project_id for it in self._engine.launches.alive()}
        live = [
            {
                **_node(node_id, f"L-MICRO node {place}"),
                "busy": node_id in users,
                "usedBy": "paper" if node_id in users else "",
                "projectName": self._name_of(users.get(node_id)),
            }
            for place, node_id in enumerate(self._engine.node_ids, 1)
        ]
        return {"backtest": [_node("BN-1", "B-MICRO node")], "research": [], "live": live}

    def _name_of(self, project_id: int | None) -> str:
        project = self._cloud.projects.get(project_id or 0)
        return project.name if project else ""

    # What a deployment has, as old as QuantConnect's snapshots are.

    def _orders(self, fields: Json) -> Json:
        launch = self._launch(fields)
        orders = self._snapshot("orders", launch, self._all_orders)
        cut = page(fields, orders, start="start", end="end", size=PAGE_MAX)
        return {"orders": cut, "length": len(orders)}

    def _all_orders(self, launch: Launch) -> list[Json]:
        with self._venue.lock:
            return [
                order_json(
                    order,
                    launch.deploy_id,
                    tag=tag_of(order, launch),
                    past=launch.reloaded.get(order.order_id, 0),
                )
                for order in self._venue.orders(launch.project_id)
                if launch.shows(order.order_id)
            ]

    def _portfolio_read(self, fields: Json) -> Json:
        launch = self._launch(fields)
        return {"portfolio": self._snapshot("portfolio", launch, self._portfolio)}

    def _portfolio(self, launch: Launch) -> Json:
        with self._venue.lock:
            self._venue.commit()
            book = self._venue.book
            account = book.accounts.get(launch.project_id)
            return portfolio_json(account, book.prices) if account else {}

    def _snapshot(self, name: str, launch: Launch, make: Callable[[Launch], Any]) -> Any:
        made_at, value = self._snapshots.get((name, launch.deploy_id), (float("-inf"), None))
        if time.monotonic() - made_at >= self._settings.qc_snapshot_seconds:
            value = make(launch)
            self._snapshots[name, launch.deploy_id] = time.monotonic(), value
        return value

    def _logs(self, fields: Json) -> Json:
        lines = self._log_lines(self._launch(fields))
        cut = page(fields, lines, start="startLine", end="endLine", size=LOG_PAGE_MAX)
        return {"logs": cut, "length": len(lines), "deploymentOffset": 0}

    def _log_lines(self, launch: Launch) -> list[str]:
        running = self._running(launch)
        return [*(running.logs if running else []), *([launch.message] if launch.message else [])]

    def _running(self, launch: Launch) -> Deployment | None:
        """The algorithm of a deployment, which is gone when another has its project."""
        found = self._engine.deployments.get(launch.project_id)
        return found if found and found.algorithm_id == launch.deploy_id else None

    def _chart(self, fields: Json) -> Json:
        running = self._running(self._launch(fields))
        return (running.chart if running else EquityChart()).read(fields)

    def _insights(self, fields: Json) -> Json:
        self._launch(fields)
        return no_insights(fields)

    # What can be taken along as a file.

    def _logs_file(self, fields: Json) -> tuple[str, str]:
        launch = self._launch({**fields, "deployId": text(fields, "deployId")})
        lines = self._log_lines(launch)
        return f"algorithm-log_{launch.deploy_id}.txt", "".join(f"{line}\n" for line in lines)

    def _orders_file(self, fields: Json) -> tuple[str, str]:
        launch = self._launch({**fields, "deployId": text(fields, "deployId")})
        with self._venue.lock:
            orders = self._venue.orders(launch.project_id)
            return f"{launch.deploy_id}_orders.csv", orders_csv(orders)


def is_organization(fields: Json) -> bool:
    """Say whether a request names the organization, or none."""
    return fields.get("organizationId") in (None, ORGANIZATION)


def _node(node_id: str, name: str) -> Json:
    price = {"monthly": 0, "yearly": 0}
    size = {"speed": 2.4, "cpu": 1, "ram": 0.5, "assets": 0, "price": price}
    who = {"id": node_id, "name": name, "projectName": "", "description": "", "usedBy": ""}
    return {**who, **size, "sku": "L-MICRO", "busy": False, "host": None, "active": True}


def _brokerage(fields: Json) -> Json:
    brokerage = fields.get("brokerage")
    if not isinstance(brokerage, dict) or brokerage.get("id") not in BROKERAGES:
        raise Refused(f"brokerage.id must be one of {', '.join(BROKERAGES)}")
    missing = [name for name in BROKERAGES[brokerage["id"]] if not brokerage.get(name)]
    if missing:
        raise Refused(f"brokerage lacks {', '.join(missing)}")
    providers = fields.get("dataProviders")
    if not isinstance(providers, dict) or not providers:
        raise Refused("Provide at least one data provider")
    return brokerage


def _parameters(fields: Json) -> dict[str, str]:
    parameters = fields.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Refused("parameters must be an object")
    return {str(name): str(value) for name, value in parameters.items()}


def _cash(brokerage: Json) -> str:
    """The opening cash of a paper account, in the one currency of this venue."""
    given = brokerage.get("cash")
    for row in given if isinstance(given, list) else []:
        try:
            amount = Decimal(str(row["amount"]))
        except (KeyError, TypeError, InvalidOperation) as error:
            raise Refused("brokerage.cash is a list of amount and currency") from error
        if row.get("currency") == "USD" and amount.is_finite() and 0 <= amount < 10**12:
            return str(amount)
    return OPENING_CASH
