"""Side effect: QuantConnect. Puts the bridge into a project, starts it, and stops it.

A deployment is created once: when its answer is lost, QuantConnect is asked what it runs. Nothing
here knows the database; who calls records what was done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.services.qc_api import (
    Json,
    QuantConnectApi,
    QuantConnectError,
    QuantConnectRefused,
    QuantConnectUnclear,
)
from app.services.qc_client import moment_text, sign_command

PAPER, INTERACTIVE_BROKERS = "QuantConnectBrokerage", "InteractiveBrokersBrokerage"
ALIVE = ("InQueue", "Initializing", "LoggingIn", "History", "Running")
POLL_S = 1.0
COMPILE_WAIT_S, SMOKE_WAIT_S, START_WAIT_S, STOP_WAIT_S = 120.0, 600.0, 300.0, 120.0
COMMAND_VALID = timedelta(seconds=60)
SMOKE_NAME = "informania-smoke"

Progress = Callable[[str], None]


class DeploymentFailed(QuantConnectError):
    """It does not run; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to run where. `brokerage` and `parameters` hold secrets: nothing prints them."""

    project_id: int
    files: dict[str, str] = field(repr=False)
    parameters: dict[str, str] = field(repr=False)
    brokerage: dict[str, Any] = field(repr=False)
    data_provider: str = PAPER
    node_id: str | None = None
    smoke: bool = False


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What runs."""

    project_id: int
    deploy_id: str
    status: str
    node_id: str
    brokerage: str


def read_bridge(folder: Path) -> dict[str, str]:
    """Read the files of the bridge; raises DeploymentFailed."""
    files = {path.name: path.read_text() for path in sorted(folder.glob("*.py"))}
    if "main.py" not in files:
        raise DeploymentFailed(f"there is no bridge in {folder}: main.py is missing")
    return files


class Deployer:
    """One project's bridge at QuantConnect; `say` is told of each step."""

    def __init__(self, api: QuantConnectApi, say: Progress, *, poll_s: float | None = None) -> None:
        self._api, self._say = api, say
        self._poll_s = POLL_S if poll_s is None else poll_s

    # What runs.

    def live(self, project_id: int) -> Json | None:
        """Return the project's last deployment; None when there was none."""
        try:
            return self._api.call("live/read", projectId=project_id)
        except QuantConnectRefused:
            # Of a project that never ran it says so by refusing; is there a project at all?
            self._project(project_id)
            return None

    def running(self, project_id: int) -> Json | None:
        """Return the deployment that runs or is about to; None when none does."""
        found = self.live(project_id)
        return found if found is not None and found.get("status") in ALIVE else None

    # Deploying.

    def prepare(self, plan: Plan) -> str:
        """Upload and compile, and try it on request; the compile's id. Nothing live changes."""
        self._upload(plan)
        compile_id = self._compile(plan.project_id)
        if plan.smoke:
            self._smoke(plan, compile_id)
        return compile_id

    def node_for(self, plan: Plan, *, replacing: bool) -> str:
        """Choose a live node: the named one, or any that is free, or that this project gives up."""
        freed = self._project(plan.project_id)["name"] if replacing else None
        answer = self._api.call("projects/nodes/read", projectId=plan.project_id)
        nodes = [node for node in answer["nodes"]["live"] if node.get("active", True)]
        if not nodes:
            raise DeploymentFailed(
                "the organization has no live node: add one at QuantConnect under Resources"
            )
        named = [node for node in nodes if plan.node_id in (None, node["id"], node["name"])]
        if not named:
            names = ", ".join(f"{node['name']} ({node['id']})" for node in nodes)
            raise DeploymentFailed(f"there is no live node {plan.node_id}; there are: {names}")
        free = [
            node for node in named
            if not node["busy"] or (freed is not None and node.get("projectName") == freed)
        ]  # fmt: skip
        if not free:
            users = ", ".join(f"{n['name']} by {n.get('projectName') or 'another'}" for n in named)
            raise DeploymentFailed(
                f"every live node is busy: {users}; stop one of these, or add a node"
            )
        return str(free[0]["id"])

    def start(self, plan: Plan, compile_id: str, node_id: str) -> Deployed:
        """Create the live deployment, and wait until it runs; raises DeploymentFailed."""
        before = self.live(plan.project_id)
        self._say("creating the live deployment")
        provider = plan.data_provider
        try:
            answer = self._api.call(
                "live/create",
                versionId="-1",
                projectId=plan.project_id,
                compileId=compile_id,
                nodeId=node_id,
                brokerage=plan.brokerage,
                dataProviders={provider: {"id": provider}},
                parameters=plan.parameters,
                automaticRedeploy=True,
                signature=compile_id.rpartition("-")[2],
                notification={},
            )
            deploy_id = str(answer.get("deployId") or answer.get("live", {}).get("deployId"))
        except QuantConnectUnclear:
            self._say("its answer was lost; asking what runs")
            deploy_id = self._found_after(plan.project_id, before)
        return self._wait_running(plan, deploy_id, node_id)

    def _found_after(self, project_id: int, before: Json | None) -> str:
        """Find the deployment whose creation was not confirmed, or prove that there is none."""
        old = None if before is None else before["deployId"]
        deadline = time.monotonic() + START_WAIT_S / 10
        while time.monotonic() < deadline:
            now = self.live(project_id)
            if now is not None and now["deployId"] != old:
                return str(now["deployId"])
            time.sleep(self._poll_s)
        raise QuantConnectUnclear(
            "live/create was not answered and no deployment shows; look at the project in"
            " QuantConnect's terminal before you deploy again"
        )

    def _wait_running(self, plan: Plan, deploy_id: str, node_id: str) -> Deployed:
        status, deadline = "", time.monotonic() + START_WAIT_S
        while time.monotonic() < deadline:
            found = self._api.call("live/read", projectId=plan.project_id, deployId=deploy_id)
            if found["status"] != status:
                status = str(found["status"])
                self._say(f"deployment {deploy_id}: {status}")
            if status == "Running":
                return Deployed(
                    project_id=plan.project_id, deploy_id=deploy_id, status=status,
                    node_id=node_id, brokerage=str(plan.brokerage["id"]),
                )  # fmt: skip
            if status not in ALIVE:
                text = " ".join(str(found.get("message") or "").split())[:500]
                raise DeploymentFailed(
                    f"deployment {deploy_id} ended as {status}: {text or 'no reason was given'};"
                    f" see informania-admin quantconnect logs {plan.project_id}"
                )
            time.sleep(self._poll_s)
        raise DeploymentFailed(
            f"deployment {deploy_id} is still {status} after {START_WAIT_S:.0f} s: see"
            f" informania-admin quantconnect status {plan.project_id}"
        )

    def _project(self, project_id: int) -> Json:
        try:
            found = self._api.call("projects/read", projectId=project_id)["projects"]
        except QuantConnectRefused as error:
            raise DeploymentFailed(
                f"QuantConnect knows no project {project_id} of ours ({error}): make one by"
                " informania-admin quantconnect create NAME"
            ) from error
        return dict(found[0])

    def _upload(self, plan: Plan) -> None:
        project_id = plan.project_id
        self._project(project_id)
        rows = self._api.call("files/read", projectId=project_id)["files"]
        there = {str(row["name"]): str(row["content"]) for row in rows}
        changed = {name: text for name, text in plan.files.items() if there.get(name) != text}
        self._say(f"uploading {len(changed)} of {len(plan.files)} files")
        for name, content in changed.items():
            if name not in there:
                self._create_file(project_id, name, content)
            else:
                self._api.call("files/update", projectId=project_id, name=name, content=content)
        # Another main.py's helper must not be imported for one of ours.
        for name in there.keys() - plan.files.keys():
            if name.endswith(".py"):
                self._say(f"removing {name}, which is not the bridge's")
                self._api.call("files/delete", projectId=project_id, name=name)

    def _create_file(self, project_id: int, name: str, content: str) -> None:
        try:
            self._api.call("files/create", projectId=project_id, name=name, content=content)
        except QuantConnectUnclear:
            # Whether it was made or not, this says.
            rows = self._api.call("files/read", projectId=project_id)["files"]
            endpoint = "files/update" if name in {row["name"] for row in rows} else "files/create"
            self._api.call(endpoint, projectId=project_id, name=name, content=content)

    def _compile(self, project_id: int) -> str:
        self._say("compiling")
        built = self._api.call("compile/create", projectId=project_id)
        compile_id, deadline = str(built["compileId"]), time.monotonic() + COMPILE_WAIT_S
        while built["state"] == "InQueue" and time.monotonic() < deadline:
            time.sleep(self._poll_s)
            built = self._api.call("compile/read", projectId=project_id, compileId=compile_id)
        if built["state"] == "InQueue":
            raise DeploymentFailed(
                f"the compile still waits after {COMPILE_WAIT_S:.0f} s: try again later"
            )
        if built["state"] != "BuildSuccess":
            lines = [str(line) for line in built.get("logs", [])][:20]
            raise DeploymentFailed("\n  ".join(["the bridge does not compile:", *lines]))
        return compile_id

    def _smoke(self, plan: Plan, compile_id: str) -> None:
        """Run it as a backtest, which trades nothing, to see that it starts."""
        self._say("trying it in a backtest")
        parameters = {**plan.parameters, "webhook_secret": "smoke", "epoch": "1"}
        answer = self._api.call(
            "backtests/create", projectId=plan.project_id, compileId=compile_id,
            backtestName=SMOKE_NAME, parameters=parameters,
        )  # fmt: skip
        named = {"projectId": plan.project_id, "backtestId": answer["backtest"]["backtestId"]}
        found, deadline = answer["backtest"], time.monotonic() + SMOKE_WAIT_S
        while not (found.get("completed") or found.get("error")) and time.monotonic() < deadline:
            time.sleep(self._poll_s)
            found = self._api.call("backtests/read", **named)["backtest"]
        if found.get("error") or not found.get("completed"):
            text = " ".join(str(found.get("error") or "it does not end").split())[:500]
            raise DeploymentFailed(f"the bridge fails in a backtest: {text}")
        self._api.call("backtests/delete", **named)

    # Stopping.

    def stop(self, project_id: int, *, liquidate: bool = False) -> Json | None:
        """Stop what runs, and wait until it has; returns it as it ended, None when nothing ran."""
        if self.running(project_id) is None:
            return None
        endpoint = "live/update/liquidate" if liquidate else "live/update/stop"
        self._say("liquidating and stopping" if liquidate else "stopping")
        try:
            self._api.call(endpoint, projectId=project_id)
        except QuantConnectRefused:
            # A repeated request finds it stopped.
            if self.running(project_id) is not None:
                raise
        return self._wait_stopped(project_id)

    def quit(self, project_id: int, *, secret: str, epoch: int, command_id: str) -> Json | None:
        """Let the bridge cancel every order of ours, report that, and end itself."""
        if self.running(project_id) is None:
            return None
        now = datetime.now(UTC)
        command: dict[str, str | int | None] = {
            "$type": "QuitBridge",
            "id": command_id,
            "version": 1,
            "epoch": epoch,
            "sent_at": moment_text(now),
            "valid_until": moment_text(now + COMMAND_VALID),
        }
        command["signature"] = sign_command(secret, command)
        self._say("asking the bridge to cancel its orders and to end")
        try:
            self._api.call("live/commands/create", projectId=project_id, command=command)
        except QuantConnectUnclear:
            self._say("its answer was lost; waiting whether it ends")
        return self._wait_stopped(project_id)

    def _wait_stopped(self, project_id: int) -> Json:
        deadline = time.monotonic() + STOP_WAIT_S
        while time.monotonic() < deadline:
            found = self.live(project_id) or {"status": "Stopped"}
            if found["status"] not in ALIVE:
                self._say(f"deployment {found.get('deployId', '')}: {found['status']}")
                return found
            time.sleep(self._poll_s)
        raise DeploymentFailed(
            f"the deployment still runs after {STOP_WAIT_S:.0f} s: see"
            f" informania-admin quantconnect status {project_id}"
        )
