"""Projects, compiles and deployments of the paper venue, as a hostile client tries them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paper_world import HMAC_KEY, PROJECT, PaperProcess, Receiver, order_fields, receiver, until

from app.services.qc_api import ENDPOINTS

__all__ = ["receiver"]

BRIDGE = Path(__file__).resolve().parents[3] / "ops" / "quantconnect"
Json = dict[str, Any]


@pytest.fixture
def paper(tmp_path: Path, receiver: Receiver) -> Iterator[PaperProcess]:
    """A venue with one live node beyond those of the demo's accounts."""
    paper = PaperProcess(tmp_path, receiver, PAPER_LIVE_NODES="4")
    paper.start()
    yield paper
    paper.close()


def done(paper: PaperProcess, path: str, **fields: Any) -> Json:
    answer: Json = paper.call(path, fields).json()
    assert answer["success"], (path, answer)
    return answer


def refused(paper: PaperProcess, path: str, **fields: Any) -> str:
    answer = paper.call(path, fields)
    assert (answer.status_code, answer.json()["success"]) == (200, False), (path, answer.text)
    return str(answer.json()["errors"][0])


def make_project(paper: PaperProcess, **changed: str) -> int:
    made = done(paper, "projects/create", name="p", language="Py")
    number = int(made["projects"][0]["projectId"])
    files = {path.name: path.read_text() for path in BRIDGE.glob("*.py")} | changed
    for name, content in files.items():
        done(paper, "files/create", projectId=number, name=name, content=content)
    return number


def build(paper: PaperProcess, project: int) -> Json:
    made = done(paper, "compile/create", projectId=project)
    assert made["state"] == "InQueue"
    named = {"projectId": project, "compileId": made["compileId"]}

    def built() -> Json | None:
        answer = done(paper, "compile/read", **named)
        return None if answer["state"] == "InQueue" else answer

    found: Json = until(built, "the compile")
    return found


def launch(paper: PaperProcess, receiver: Receiver, project: int, **changed: Any) -> Json:
    """What live/create takes, with changes."""
    return {
        "projectId": project,
        "compileId": build(paper, project)["compileId"],
        "versionId": "-1",
        "nodeId": f"LN-{4:032x}",
        "brokerage": {"id": "QuantConnectBrokerage"},
        "dataProviders": {"QuantConnectBrokerage": {"id": "QuantConnectBrokerage"}},
        "parameters": {
            "webhook_url": receiver.url,
            "webhook_secret": HMAC_KEY,
            "source": f"qc:{project}",
            "epoch": "2",
            "symbols": "AAPL",
            "interval_s": "1",
        },
        **changed,
    }


def running(paper: PaperProcess, project: int) -> bool:
    return bool(done(paper, "live/read", projectId=project)["status"] == "Running")


def test_the_demos_accounts_are_projects_with_the_files_that_they_run(paper: PaperProcess) -> None:
    projects = done(paper, "projects/read")["projects"]
    assert [it["projectId"] for it in projects] == [1001, 1002, 1003]
    files = done(paper, "files/read", projectId=PROJECT)["files"]
    assert {it["name"]: it["content"] for it in files} == {
        path.name: path.read_text() for path in BRIDGE.glob("*.py")
    }
    nodes = done(paper, "projects/nodes/read", projectId=PROJECT)["nodes"]["live"]
    assert [it["busy"] for it in nodes] == [True, True, True, False]
    assert "deployed live" in refused(paper, "projects/delete", projectId=PROJECT)


@pytest.mark.parametrize(
    "name", ["../main.py", "/etc/x.py", "a/b.py", "x.so", "", ".py", "x" * 80 + ".py", "main.py\n"]
)
def test_a_file_stays_within_its_project(paper: PaperProcess, name: str) -> None:
    project = make_project(paper)
    refused(paper, "files/create", projectId=project, name=name, content="x = 1")
    refused(paper, "files/update", projectId=project, name="main.py", newName=name)
    found = {it["name"] for it in done(paper, "files/read", projectId=project)["files"]}
    assert found == {path.name for path in BRIDGE.glob("*.py")}


def test_the_venue_answers_what_the_client_can_ask(paper: PaperProcess) -> None:
    unknown = {path for path in ENDPOINTS if paper.call(path, {}).status_code == 404}
    assert unknown == set()
    assert paper.call("live/export/nothing", {}).status_code == 404


def candles(paper: PaperProcess, path: str = "live/chart/read", **fields: Any) -> list[list[float]]:
    named = {"projectId": PROJECT, "name": "Strategy Equity", **fields}
    found: list[list[float]] = done(paper, path, **named)["chart"]["series"]["Equity"]["values"]
    return found


def test_the_chart_of_a_deployment_is_what_its_account_is_worth(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.hold("AAPL", "20.00")
    (opening, *_) = until(lambda: candles(paper), "the first candle")
    assert opening[1:] == [100_000.0] * 4
    paper.place("held", quantity="100")
    until(lambda: receiver.statuses("held")[-1:] == ["filled"], "the fill")
    (cash,) = done(paper, "live/portfolio/read", projectId=PROJECT)["portfolio"]["cash"].values()
    paper.hold("AAPL", "25.00")
    closes = until(
        lambda: candles(paper)[-1][4] == cash["amount"] + 2500 and candles(paper), "the new price"
    )
    assert closes[-1][2] >= closes[-1][4] >= closes[-1][3]
    assert candles(paper, count=1) == candles(paper)[-1:]
    assert candles(paper, start=closes[-1][0] + 3600, end=closes[-1][0] + 7200) == []
    assert "Chart not found" in refused(
        paper, "live/chart/read", projectId=PROJECT, name="Drawdown", count=1, start=0, end=1
    )
    refused(paper, "live/chart/read", projectId=PROJECT, name="Strategy Equity", count=0)
    refused(paper, "live/chart/read", projectId=PROJECT, name="Strategy Equity", start="noon")


def test_a_backtest_has_a_chart_and_no_insights(paper: PaperProcess, receiver: Receiver) -> None:
    project = make_project(paper)
    built = build(paper, project)
    fields = launch(paper, receiver, project) | {"compileId": built["compileId"]}
    made = done(paper, "backtests/create", backtestName="b", **fields)
    named = {"projectId": project, "backtestId": made["backtest"]["backtestId"]}
    (candle, *_) = candles(paper, "backtests/chart/read", **named)
    assert candle[1:] == [100_000.0] * 4
    told = done(paper, "backtests/insights/read", start=0, end=100, **named)
    assert (told["insights"], told["length"]) == ([], 0)
    refused(paper, "backtests/insights/read", start=0, end=101, **named)
    refused(paper, "live/insights/read", projectId=PROJECT, start=0, end=101)


def test_logs_and_orders_of_a_project_are_files_to_take_along(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.hold("AAPL", "20.00")
    paper.place("filed", quantity="3")
    until(lambda: receiver.statuses("filed")[-1:] == ["filled"], "the fill")
    deploy_id = done(paper, "live/read", projectId=PROJECT)["deployId"]
    named = {"projectId": PROJECT, "deployId": deploy_id}
    logs = paper.call("live/export/logs", named)
    assert f"algorithm-log_{deploy_id}.txt" in logs.headers["Content-Disposition"]
    read = done(paper, "live/logs/read", startLine=0, endLine=250, **named)["logs"]
    assert logs.text.splitlines()[: len(read)] == read
    orders = paper.call("live/export/orders", named)
    assert orders.headers["Content-Type"] == "application/octet-stream"
    (row,) = csv.DictReader(io.StringIO(orders.text))
    assert (row["Symbol"], row["Quantity"], row["Status"], row["Tag"]) == (
        "AAPL", "3.0", "filled", "filed",
    )  # fmt: skip
    refused(paper, "live/export/orders", projectId=PROJECT)
    refused(paper, "live/export/logs", projectId=PROJECT, deployId="L-none")


def test_what_makes_no_sense_is_refused_and_not_an_error(paper: PaperProcess) -> None:
    project = make_project(paper)
    refused(paper, "projects/create", name="", language="Py")
    refused(paper, "projects/create", name="x", language="COBOL")
    refused(paper, "projects/create", name=5)
    refused(paper, "files/create", projectId=project, name="main.py", content="twice")
    refused(paper, "files/create", projectId=project, name="big.py", content="x" * 300_000)
    refused(paper, "files/update", projectId=project, name="none.py", content="")
    refused(paper, "files/delete", projectId=project, name="none.py")
    refused(paper, "files/read", projectId="none")
    refused(paper, "compile/read", projectId=project, compileId="none")
    refused(paper, "backtests/read", projectId=project, backtestId="none")
    refused(paper, "live/read", projectId=project)
    refused(paper, "live/update/stop", projectId=project)
    refused(paper, "live/list", status="Asleep")
    refused(paper, "live/logs/read", projectId=PROJECT, startLine=0, endLine=251)
    refused(paper, "object/get", keys="all")
    refused(paper, "object/set", key="", objectData="x")
    assert paper.call("files/create", {"content": "x" * 2_200_000}).status_code == 413


@pytest.mark.parametrize(
    ("content", "log"),
    [
        ("class Bridge(QCAlgorithm:\n", "main.py Line:1"),
        ("x = 1\x00\n", "main.py"),
        ("(" * 50_000, "main.py"),
        ("x = 1\n", "no class derives from QCAlgorithm"),
    ],
)
def test_what_is_no_algorithm_does_not_compile_and_cannot_be_deployed(
    paper: PaperProcess, receiver: Receiver, content: str, log: str
) -> None:
    project = make_project(paper)
    done(paper, "files/update", projectId=project, name="main.py", content=content)
    built = build(paper, project)
    assert built["state"] == "BuildError"
    assert log in " ".join(built["logs"])
    fields = launch(paper, receiver, project)
    assert "did not succeed" in refused(paper, "live/create", **fields)
    refused(paper, "backtests/create", backtestName="b", **fields)


def test_a_deployment_needs_all_that_it_needs(paper: PaperProcess, receiver: Receiver) -> None:
    project = make_project(paper)
    fields = launch(paper, receiver, project)
    interactive = {"id": "InteractiveBrokersBrokerage", "ib-user-name": "u"}
    for changed in (
        {"nodeId": "LN-none"},
        {"nodeId": f"LN-{1:032x}"},
        {"brokerage": {"id": "Robinhood"}},
        {"brokerage": "QuantConnectBrokerage"},
        {"brokerage": interactive},
        {"brokerage": {"id": "QuantConnectBrokerage", "cash": [{"amount": "NaN?"}]}},
        {"dataProviders": {}},
        {"parameters": ["a"]},
        {"compileId": None},
        {"projectId": PROJECT},
    ):
        refused(paper, "live/create", **{**fields, **changed})
    assert done(paper, "live/list", projectId=project)["live"] == []
    done(paper, "live/create", **fields)
    assert "already deployed" in refused(paper, "live/create", **fields)


def test_deployments_survive_a_kill_as_they_were(paper: PaperProcess, receiver: Receiver) -> None:
    project = make_project(paper)
    made = done(paper, "live/create", **launch(paper, receiver, project))
    until(lambda: running(paper, project), "the start")
    done(paper, "live/update/stop", projectId=1002)
    until(lambda: not running(paper, 1002), "the stop")
    paper.kill()
    paper.start()
    assert done(paper, "live/read", projectId=project)["deployId"] == made["deployId"]
    assert running(paper, project)
    assert not running(paper, 1002)
    paper.send("PlaceOrder", project, **order_fields("after-the-kill"), epoch=2)
    until(lambda: paper.orders("after-the-kill"), "an order of the deployment")
    assert "no running" in str(
        paper.call("live/commands/create", {"projectId": 1002, "command": {}}).json()["errors"]
    )


def test_each_deployment_runs_its_own_files(paper: PaperProcess, receiver: Receiver) -> None:
    """Two bridges whose helpers have the same names, and say different things."""
    changed = (BRIDGE / "lean_orders.py").read_text()
    changed += "\n\ndef held_by(portfolio):\n    return {'positions': [], 'cash': []}\n"
    project = make_project(paper, **{"lean_orders.py": changed})
    done(paper, "live/create", **launch(paper, receiver, project))
    until(lambda: receiver.deliveries(project), "a heartbeat of the changed bridge")
    assert receiver.deliveries(project)[-1]["heartbeat"]["cash"] == []
    demo = until(receiver.deliveries, "a heartbeat of the demo's bridge")
    assert demo[-1]["heartbeat"]["cash"] != []


def test_a_new_run_knows_open_orders_by_the_brokers_id_and_none_of_their_past(
    paper: PaperProcess, receiver: Receiver
) -> None:
    project = make_project(paper)
    done(paper, "live/create", **launch(paper, receiver, project))
    until(lambda: running(paper, project), "the start")
    resting = order_fields("rests", order_type="limit", limit_price="1")
    paper.send("PlaceOrder", project, **resting, epoch=2)
    paper.send("PlaceOrder", project, **order_fields("ended"), epoch=2)
    until(lambda: paper.orders("ended"), "both orders")
    done(paper, "live/update/stop", projectId=project)
    until(lambda: not running(paper, project), "the stop")
    done(paper, "live/create", **launch(paper, receiver, project))
    until(lambda: running(paper, project), "the second start")
    page = {"projectId": project, "start": 0, "end": 100}
    [order] = done(paper, "live/orders/read", **page)["orders"]
    assert (order["tag"], order["events"]) == ("", [])
    paper.send("CancelOrder", project, client_order_id="rests", epoch=2)
    until(lambda: paper.orders("rests")[0]["status"] == "canceled", "the cancel by its name")
