"""Foreign clients of QuantConnect's API against the paper venue's QC face, and types of the bridge.

usage: python tests/contract/run_clients.py

A real paper venue on free ports; the API client of `lean` and the server quantconnect-mcp, each a
process in its own environment; mypy over the bridge with its stubs. Exits 1 when one of them
does not see what it should. `make test-contract` makes the environments.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops"):
    sys.path.insert(0, str(ROOT / _folder))

from paper_world import HMAC_KEY, PROJECT, QC_TOKEN, QC_USER, PaperProcess, Receiver  # noqa: E402
from paper_world import until as waited  # noqa: E402

BRIDGE = ROOT / "ops" / "quantconnect"
LEAN = ROOT / ".cache/contract/bin/python"
MCP = ROOT / ".cache/contract-mcp/bin/python"
TIMEOUT_S = 300
INTERACTIVE_BROKERS = {
    "id": "InteractiveBrokersBrokerage",
    "ib-user-name": "u",
    "ib-account": "DU1",
    "ib-password": "p",
    "ib-weekly-restart-utc-time": "21:00:00",
}
# What is wrong on purpose -> what it says, what it says then: mypy has to find each.
WRONG_BRIDGES = {
    "a method that LEAN does not have": ("algorithm.market_order(", "algorithm.market_ordr("),
    "a value of another type": ("ticket.update(fields)", "ticket.update(5)"),
    "a property that LEAN does not have": ("portfolio.cash_book", "portfolio.cash_books"),
}
Json = dict[str, Any]


def main() -> int:
    """Ask all, print what they said, and say by the exit code whether all is well."""
    wrong = [*types_of_the_bridge()]
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver()
        paper = PaperProcess(Path(folder), receiver, PAPER_LIVE_NODES="6")
        try:
            paper.start()
            wrong += by_lean(ask(LEAN, "client_lean.py", request(paper, receiver, folder)))
            if MCP.exists():
                wrong += by_mcp(paper, receiver, folder)
            else:
                say("quantconnect-mcp is left out: it needs Python 3.12, and there is none here")
        finally:
            paper.close()
            receiver.close()
    say(*(f"WRONG {it}" for it in wrong), f"foreign clients: {len(wrong)} of the facts are wrong")
    return int(bool(wrong))


def request(paper: PaperProcess, receiver: Receiver, scratch: str) -> Json:
    """What a client has to know."""
    return {
        "url": f"http://127.0.0.1:{paper.qc_port}/api/v2/",
        "user": QC_USER,
        "token": QC_TOKEN,
        "files": {path.name: path.read_text() for path in BRIDGE.glob("*.py")},
        "parameters": {
            "webhook_url": receiver.url, "webhook_secret": HMAC_KEY, "source": "qc:1",
            "epoch": "5", "symbols": "AAPL,MSFT",
        },
        "brokerages": [{"id": "QuantConnectBrokerage"}, INTERACTIVE_BROKERS],
        "scratch": scratch,
        "traded": PROJECT,
    }  # fmt: skip


def ask(python: Path, script: str, what: Json) -> Json:
    """Run a client to its end in its own environment."""
    done = subprocess.run(
        [python, ROOT / "tests/contract" / script],
        env={"PATH": "/usr/bin:/bin", "HOME": what["scratch"], "MPLCONFIGDIR": what["scratch"]},
        input=json.dumps(what), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    told: Json = json.loads(done.stdout)
    return told


def by_lean(told: Json) -> Iterator[str]:
    """Compare what lean saw with what it should have seen."""
    refused = told.pop("refusals")
    projects = told["projects"]
    say(f"{told['version']}: {len(told) - 1} parts of its API client, {len(refused)} refusals")
    yield from differences("lean", told, {
        "believed": [True, False],
        "compile": "BuildSuccess",
        "backtest": {"error": None, "listed": ["by lean"], "orders": 0, "left": 0},
        "live": [
            {"same": True, "brokerage": name, "busy": True, "ended": ended, "stopped": True,
             "sent": [True, True]}
            for name, ended in (("QuantConnectBrokerage", "Stopped"),
                                ("InteractiveBrokersBrokerage", "Liquidated"))
        ],
        "objects": {"listed": ["/contract/one.txt"], "size": 9, "content": "some text",
                    "left": []},
        "gone": True,
    })  # fmt: skip
    if not (projects["listed"] and projects["extra"] == "x = 2\n" and "main.py" in projects["names"]
            and projects["parameters"]["epoch"] == "5"):  # fmt: skip
        yield f"lean: projects: {projects}"
    if told["broken"][0] != "BuildError" or "main.py Line:1" not in told["broken"][1]:
        yield f"lean: broken: {told['broken']}"
    reasons = ("Project not found", "File not found", "Compile id not found", "Node not found",
               "no running live deployment")  # fmt: skip
    for text, reason in zip(refused, reasons, strict=True):
        if reason not in text:
            yield f"lean: refused with {text!r}, expected {reason!r}"


def by_mcp(paper: PaperProcess, receiver: Receiver, scratch: str) -> Iterator[str]:
    """Let an order of the demo's account fill, and see what an assistant sees of it."""
    paper.place("seen-by-an-assistant")
    waited(lambda: "filled" in receiver.statuses("seen-by-an-assistant"), "the fill")
    told = ask(MCP, "client_mcp.py", request(paper, receiver, scratch))
    say(f"{told.pop('version')}: {len(told)} facts through its tools")
    yield from differences("quantconnect-mcp", told, {
        "authenticated": "success",
        "files": len([*BRIDGE.glob("*.py")]),
        "compile": "BuildSuccess",
        "same": True,
        "statistics": ["bridge_sequence"],
        "listed": True,
        "orders": 0,
        "cash": 100_000.0,
        "equity": [100_000.0] * 4,
        "logs": True,
        "demo_orders": [["seen-by-an-assistant", 3]],
        "refused": ["error", ["There is no running live deployment of this project"]],
    })  # fmt: skip


def differences(who: str, told: Json, expected: Json) -> Iterator[str]:
    """Tell what is not as it should be."""
    for name, wanted in expected.items():
        if told.get(name) != wanted:
            yield f"{who}: {name}: {told.get(name)!r}, expected {wanted!r}"


def types_of_the_bridge() -> Iterator[str]:
    """Check the bridge against QuantConnect's stubs, and bridges that are wrong on purpose."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        code, output = checked(BRIDGE, cache)
        if code:
            yield f"types of the bridge:\n{output}"
        for number, (name, (old, new)) in enumerate(WRONG_BRIDGES.items()):
            copy = Path(folder) / str(number)
            shutil.copytree(BRIDGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
            file = copy / "lean_orders.py"
            assert old in file.read_text(), old
            file.write_text(file.read_text().replace(old, new))
            if checked(copy, cache)[0] != 1:
                yield f"types of the bridge: nobody noticed {name}"
    say(f"quantconnect-stubs: the bridge is typed, {len(WRONG_BRIDGES)} wrong ones are found")


def checked(folder: Path, cache: Path) -> tuple[int, str]:
    """Run mypy over the files of a bridge."""
    done = subprocess.run(
        [LEAN, "-m", "mypy", "--strict", "--python-version", "3.11", "--cache-dir", cache, "."],
        cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def say(*lines: str) -> None:
    """Print at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
