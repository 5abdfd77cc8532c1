"""An assistant's way to QuantConnect: the server quantconnect-mcp, asked tool by tool.

usage: .cache/contract-mcp/bin/python tests/contract/client_mcp.py <request.json >answer.json
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

Json = dict[str, Any]
DEADLINE_S = 30.0


class Tools:
    """Calls tools of one server process; what it says of a failure is kept."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, tool: str, **arguments: Any) -> Json:
        """Call a tool that must succeed."""
        told = await self.raw(tool, **arguments)
        assert told.get("status") == "success", (tool, told)
        return told

    async def raw(self, tool: str, **arguments: Any) -> Json:
        """Call a tool."""
        result = await self._client.call_tool(tool, arguments)
        found: Json = json.loads(result.content[0].text)
        return found

    async def until(self, tool: str, is_good: Callable[[Json], bool], **arguments: Any) -> Json:
        """Call a tool until its answer is good."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_good(found := await self.raw(tool, **arguments)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not in time: {found}")
            await asyncio.sleep(0.1)
        return found


async def journey(tools: Tools, request: Json) -> Json:
    """From a project to a deployment that traded, and its end."""
    told: Json = {"authenticated": (await tools.raw("validate_quantconnect_auth"))["status"]}
    made = await tools("create_project", name="Made by an assistant")
    number = made["project"]["projectId"]
    for name, content in request["files"].items():
        await tools("create_file", project_id=number, name=name, content=content)
    told["files"] = len((await tools("read_file", project_id=number))["files"])
    begun = await tools.raw("compile_project", project_id=number)
    compile_id = begun["compile_id"]
    built = await tools.until(
        "read_compilation_result", lambda it: it.get("state") != "InQueue",
        project_id=number, compile_id=compile_id,
    )  # fmt: skip
    told["compile"] = built["state"]
    nodes = (await tools("read_project_nodes", project_id=number))["nodes"]["live"]
    node = next(it["id"] for it in nodes if not it["busy"])
    live = await tools(
        "create_live_algorithm", project_id=number, compile_id=compile_id, node_id=node,
        brokerage_id="QuantConnectBrokerage", brokerage_config={"id": "QuantConnectBrokerage"},
        parameters={**request["parameters"], "source": f"qc:{number}"},
    )  # fmt: skip
    deploy_id = live["deploy_id"]
    read = await tools.until(
        "read_live_algorithm",
        lambda it: it.get("live_status") == "Running" and bool(it["runtime_statistics"]),
        project_id=number,
    )
    told["same"] = read["deploy_id"] == deploy_id
    told["statistics"] = sorted(read["runtime_statistics"])
    listed = await tools("list_live_algorithms", status="Running")
    told["listed"] = deploy_id in json.dumps(listed)
    told["orders"] = (await tools("read_live_orders", project_id=number))["length"]
    portfolio = await tools("read_live_portfolio", project_id=number)
    told["cash"] = portfolio["portfolio"]["cash"]["USD"]["amount"]
    chart = await tools.until(
        "read_live_chart", lambda it: bool(it["chart"]["series"]["Equity"]["values"]),
        project_id=number, name="Strategy Equity", count=1,
    )  # fmt: skip
    told["equity"] = chart["chart"]["series"]["Equity"]["values"][0][1:]
    logs = await tools("read_live_logs", project_id=number, algorithm_id=deploy_id,
                       start_line=0, end_line=200)  # fmt: skip
    told["logs"] = isinstance(logs["logs"], list)
    demo = await tools("read_live_orders", project_id=request["traded"])
    told["demo_orders"] = [[it["tag"], it["status"]] for it in demo["orders"]]
    await tools("stop_live_algorithm", project_id=number)
    await tools.until(
        "list_live_algorithms", lambda it: deploy_id in json.dumps(it), status="Stopped"
    )
    refused = await tools.raw("stop_live_algorithm", project_id=number)
    told["refused"] = [refused["status"], refused.get("details")]
    await tools("delete_project", project_id=number)
    return told


async def ask(request: Json) -> Json:
    """Start the server and go the way."""
    script = str(Path(__file__).with_name("client_mcp_server.py"))
    environment = {
        "QC_URL": request["url"],
        "QUANTCONNECT_USER_ID": request["user"],
        "QUANTCONNECT_API_TOKEN": request["token"],
        "PATH": "/usr/bin:/bin",
        "MPLCONFIGDIR": request["scratch"],
    }
    transport = StdioTransport(sys.executable, [script], env=environment)
    async with Client(transport, timeout=120) as client:
        told = await journey(Tools(client), request)
    return {"version": f"quantconnect-mcp {version('quantconnect-mcp')}", **told}


if __name__ == "__main__":
    json.dump(asyncio.run(ask(json.load(sys.stdin))), sys.stdout)
