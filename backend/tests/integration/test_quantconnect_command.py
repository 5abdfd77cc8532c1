"""The bridge is deployed, replaced and stopped from a terminal, whatever goes wrong on the way."""

import shutil
from pathlib import Path

import pytest
from paper_world import order_fields, receiver, until
from quantconnect_world import IB_PASSWORD, Operator, operator

from app.admin import quantconnect
from app.services import qc_deployment

__all__ = ["operator", "receiver"]


def a_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Let the operator deploy a bridge that says something else in one place of main.py."""
    folder = tmp_path / "other bridge"
    shutil.copytree(quantconnect.BRIDGE_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "main.py").read_text()
    assert old in text
    (folder / "main.py").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(quantconnect, "BRIDGE_DIR", folder)


async def test_from_an_empty_project_to_the_first_order_and_the_end(operator: Operator) -> None:
    project = await operator.account()
    made = await operator.done("deploy", project, "--smoke", "--interval", "1")
    assert (made["status"], made["brokerage"]) == ("Running", "QuantConnectBrokerage")
    assert made["symbols"] == 1

    until(lambda: operator.receiver.deliveries(int(project)), "the first heartbeat")
    await operator.hear(project)
    [shown] = (await operator.run("status", project))[1]
    assert (shown["heard"], shown["epoch"]) == (True, made["epoch"])

    operator.paper.send(
        "PlaceOrder", int(project), **order_fields("first-order"), epoch=made["epoch"]
    )
    until(
        lambda: (
            "filled"
            in [e.get("status") for e in operator.receiver.events("first-order", int(project))]
        ),
        "the fill of the first order",
    )
    operator.paper.send("QueryOrder", int(project), client_order_id="first-order", epoch=1)
    await operator.done("stop", project)
    [ended] = operator.launches(project)
    assert (ended["status"], ended["deployId"]) == ("Stopped", made["deploy_id"])
    assert await operator.audited() == ["deploying", "deployed", "stopping", "stopped"]
    assert "nothing runs" in await operator.failed("stop", project)


async def test_a_command_of_another_epoch_is_not_obeyed_and_the_log_says_so(
    operator: Operator,
) -> None:
    project = await operator.account()
    await operator.done("deploy", project)
    operator.paper.send("PlaceOrder", int(project), **order_fields("old-epoch"), epoch=1)

    def logged() -> bool:
        answer = operator.paper.call(
            "live/logs/read", {"projectId": int(project), "startLine": 0, "endLine": 100}
        )
        return any("WRONG_EPOCH" in line for line in answer.json()["logs"])

    until(logged, "the refusal in the log")
    _, rows, _ = await operator.run("logs", project)
    assert any("WRONG_EPOCH" in row["line"] for row in rows)
    assert operator.paper.orders("old-epoch") == []


async def test_what_runs_is_replaced_only_on_demand_and_no_order_is_placed_twice(
    operator: Operator,
) -> None:
    project = await operator.account()
    first = await operator.done("deploy", project)
    order = order_fields("once", order_type="limit", limit_price="1")
    operator.paper.send("PlaceOrder", int(project), **order, epoch=first["epoch"])
    until(lambda: operator.paper.orders("once"), "the order at the venue")

    refusal = await operator.failed("deploy", project)
    assert first["deploy_id"] in refusal
    assert "--replace" in refusal
    second = await operator.done("deploy", project, "--replace")
    assert second["epoch"] > first["epoch"]
    assert [it["status"] for it in operator.launches(project)] == ["Stopped", "Running"]

    # A repeated command, now of the new epoch, finds the order in the ledger.
    operator.paper.send("PlaceOrder", int(project), **order, epoch=second["epoch"])
    until(
        lambda: [
            event
            for event in operator.receiver.events("once", int(project))
            if event["kind"] == "order_state" and event["status"] == "accepted"
        ],
        "the state of the order that was placed before",
    )
    assert len(operator.paper.orders("once")) == 1
    assert await operator.audited() == [
        *("deploying", "deployed"),
        *("deploying", "stopping", "stopped", "deployed"),
    ]


async def test_the_bridge_cancels_its_orders_before_it_ends(operator: Operator) -> None:
    project = await operator.account()
    made = await operator.done("deploy", project, "--interval", "1")
    for name in ("rests-1", "rests-2"):
        fields = order_fields(name, order_type="limit", limit_price="1")
        operator.paper.send("PlaceOrder", int(project), **fields, epoch=made["epoch"])
    until(lambda: operator.paper.orders("rests-2"), "the second order")
    assert "never heard" in await operator.failed("stop", project, "--cancel-orders")
    until(lambda: operator.receiver.deliveries(int(project)), "a heartbeat")
    await operator.hear(project)
    ended = await operator.done("stop", project, "--cancel-orders")
    assert ended["status"] == "Stopped"
    states = [operator.paper.orders(name)[0]["status"] for name in ("rests-1", "rests-2")]
    assert states == ["canceled", "canceled"]
    told = [e.get("status") for e in operator.receiver.events("rests-1", int(project))]
    assert "canceled" in told


async def test_liquidation_sells_what_is_held(operator: Operator) -> None:
    project = await operator.account()
    made = await operator.done("deploy", project)
    operator.paper.send("PlaceOrder", int(project), **order_fields("held"), epoch=made["epoch"])

    def held() -> float:
        answer = operator.paper.call("live/portfolio/read", {"projectId": int(project)})
        holdings = answer.json()["portfolio"]["holdings"]
        return float(holdings.get("AAPL", {}).get("quantity", 0))

    until(lambda: held() == 10, "the position")
    assert (await operator.done("stop", project, "--liquidate"))["status"] == "Liquidated"
    until(lambda: held() == 0, "the end of the position")


async def test_a_bridge_that_does_not_compile_changes_nothing_that_runs(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await operator.account()
    running = await operator.done("deploy", project)
    a_bridge(tmp_path, monkeypatch, "class InformaniaBridge", "clas InformaniaBridge")
    complaint = await operator.failed("deploy", project, "--replace")
    assert "does not compile" in complaint
    assert "main.py Line:" in complaint
    [live] = operator.launches(project)
    assert (live["status"], live["deployId"]) == ("Running", running["deploy_id"])
    assert (await operator.audited())[-2:] == ["deploying", "deploy_failed"]


async def test_a_bridge_that_does_not_start_is_told_with_its_reason(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await operator.account()
    start = "        BridgeCommand.receive = self.receive\n"
    a_bridge(tmp_path, monkeypatch, start, start + '        raise OSError("no such luck")\n')
    assert "no such luck" in await operator.failed("deploy", project, "--smoke")
    assert operator.launches(project) == [], "found before anything went live"
    assert "no such luck" in await operator.failed("deploy", project)
    assert [it["status"] for it in operator.launches(project)] == ["RuntimeError"]
    assert await operator.audited() == ["deploying", "deploy_failed"] * 2


async def test_a_wrong_token_is_told_from_a_wrong_address(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await operator.account()
    (operator.secrets / "qc_token").write_text("stolen")
    assert "qc_token" in await operator.failed("deploy", project)
    (operator.secrets / "qc_token").write_text("")
    assert "qc_token is missing" in await operator.failed("status")
    (operator.secrets / "qc_token").write_text("token-of-the-test")
    monkeypatch.setenv("QC_URL", "http://127.0.0.1:9/api/v2/")
    assert "QC_URL" in await operator.failed("deploy", project)
    assert await operator.audited() == []


async def test_a_busy_node_is_named_and_nothing_is_stopped(operator: Operator) -> None:
    """Four nodes: three of the demo's accounts, and one that the first deployment takes."""
    first, second = await operator.account(), await operator.account()
    made = await operator.done("deploy", first)
    complaint = await operator.failed("deploy", second)
    assert "every live node is busy" in complaint
    assert "Desk" in complaint
    assert "there is no live node LN-x" in await operator.failed("deploy", second, "--node", "LN-x")
    named = await operator.failed("deploy", second, "--node", made["node_id"])
    assert "busy" in named
    assert operator.launches(second) == []
    # In its own place it may be replaced.
    again = await operator.done("deploy", first, "--replace")
    assert again["node_id"] == made["node_id"]


async def test_a_project_that_is_not_ours_or_has_no_account_is_refused(operator: Operator) -> None:
    assert "quantconnect create" in await operator.failed("deploy", "4711")
    project = str((await operator.done("create", "Nobody's"))["project_id"])
    assert "accounts create" in await operator.failed("deploy", project)
    assert operator.launches(project) == []
    assert await operator.audited() == []


@pytest.mark.parametrize("kind", ["reset_mid_body", "5xx_after_accept"])
async def test_a_deployment_whose_answer_is_lost_is_found_and_not_made_twice(
    operator: Operator, kind: str
) -> None:
    project = await operator.account()
    operator.paper.fault(kind, client_order_id="live/create")
    made = await operator.done("deploy", project)
    [live] = operator.launches(project)
    assert (live["status"], live["deployId"]) == ("Running", made["deploy_id"])
    assert await operator.audited() == ["deploying", "deployed"]


async def test_a_deployment_that_never_shows_is_unknown_and_stays_so(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await operator.account()
    monkeypatch.setattr(qc_deployment, "START_WAIT_S", 5.0)
    operator.paper.fault("timeout_before_accept", client_order_id="live/create", seconds=0)
    assert "look at the project" in await operator.failed("deploy", project)
    assert operator.launches(project) == []
    assert await operator.audited() == ["deploying", "deploy_unknown"]


@pytest.mark.parametrize("path", ["files/create", "compile/create", "live/read", "files/read"])
async def test_a_cut_in_the_middle_is_survived_where_twice_is_once(
    operator: Operator, path: str
) -> None:
    project = await operator.account()
    operator.paper.fault("reset_mid_body", client_order_id=path, count=2)
    await operator.done("deploy", project)
    assert [it["status"] for it in operator.launches(project)] == ["Running"]


async def test_a_throttled_call_waits_and_goes_on(operator: Operator) -> None:
    project = await operator.account()
    operator.paper.fault("throttle", client_order_id="compile/create", seconds=1)
    await operator.done("deploy", project)


async def test_interactive_brokers_is_deployed_with_a_password_that_nobody_sees(
    operator: Operator,
) -> None:
    project = await operator.account()
    words = ("deploy", project, "--brokerage", "ib")
    assert "--ib-user" in await operator.failed(*words)
    words = (*words, "--ib-user", "trader7", "--ib-account", "DU1234567")
    assert "ib_password" in await operator.failed(*words)
    (operator.secrets / "ib_password").write_text(IB_PASSWORD + "\n")
    assert "--ib-restart" in await operator.failed(*words, "--ib-restart", "24:00:00")
    assert "paper account alone" in await operator.failed(*words, "--cash", "5")
    made = await operator.done(*words)
    assert made["brokerage"] == "InteractiveBrokersBrokerage"
    [live] = operator.launches(project)
    assert live["brokerage"] == "InteractiveBrokersBrokerage"


async def test_webhooks_go_where_quantconnect_can_reach_them_and_not_in_the_clear(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QC_URL", "https://quantconnect.invalid/api/v2/")
    assert "cannot reach" in await operator.failed("deploy", "1")
    for url, reason in (("http://desk.example/x", "not https"), ("desk", "no address")):
        assert reason in await operator.failed("deploy", "1", "--webhook-url", url)
    assert "--interval" in await operator.failed(
        "deploy", "1", "--webhook-url", "https://desk.example/x", "--interval", "600"
    )
