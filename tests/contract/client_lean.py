"""The API client of QuantConnect's own command line, lean, does what `lean cloud` does with it.

usage: .cache/contract/bin/python tests/contract/client_lean.py <request.json >answer.json

Runs in its own environment, against whatever listens at the port of the request.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Json = dict[str, Any]
DEADLINE_S = 30.0


def prepare() -> None:
    """Without this file of its own, and with one of yesterday, lean asks the network on import."""
    spec = find_spec("lean")
    assert spec is not None
    package = Path(str(spec.origin)).parent
    source = (package / "models/__init__.py").read_text()
    name = re.search(r'"(modules-[0-9.]+\.json)"', source)
    assert name is not None
    (package / name[1]).write_text('{"modules": []}')


def until(ask: Callable[[], Any], is_good: Callable[[Any], bool]) -> Any:
    """Ask until the answer is good."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_good(found := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {found}")
        time.sleep(0.1)
    return found


def client(request: Json, token: str) -> Any:
    """Make lean's client as lean does."""
    from lean.components.api import api_client  # noqa: PLC0415
    from lean.components.util.http_client import HTTPClient  # noqa: PLC0415
    from lean.components.util.logger import Logger  # noqa: PLC0415

    api_client.API_BASE_URL = request["url"]
    logger = Logger()
    return api_client.APIClient(logger, HTTPClient(logger), request["user"], token)


def projects(api: Any, request: Json) -> Json:
    """Push a project as `lean cloud push` does, with its parameters as a form."""
    from lean.models.api import QCLanguage  # noqa: PLC0415

    made = api.projects.create("Pushed by lean", QCLanguage.Python, None)
    number = made.projectId
    files = [{"name": name, "content": it} for name, it in request["files"].items()]
    api.projects.update(number, description="d", parameters=request["parameters"], files=files)
    api.files.create(number, "extra.py", "x = 1\n")
    api.files.update(number, "extra.py", "x = 2\n")
    extra = api.files.get(number, "extra.py").content
    names = sorted(file.name for file in api.files.get_all(number))
    api.files.delete(number, "extra.py")
    found = api.projects.get(number, None)
    listed = number in {it.projectId for it in api.projects.get_all(None)}
    parameters = {it.key: it.value for it in found.parameters}
    return {
        "project": number, "extra": extra, "names": names, "listed": listed,
        "organization": found.organizationId, "parameters": parameters,
    }  # fmt: skip


def compiled(api: Any, number: int) -> Any:
    """Compile as `lean cloud backtest` and `live` do."""
    made = api.compiles.create(number)
    return until(
        lambda: api.compiles.get(number, made.compileId), lambda it: it.state.value != "InQueue"
    )


def backtest(api: Any, number: int, compile_id: str, parameters: dict[str, str]) -> Json:
    """Run a backtest and clear it away."""
    made = api.backtests.create(number, compile_id, "by lean", parameters)
    done = until(lambda: api.backtests.get(number, made.backtestId), lambda it: it.is_complete())
    listed = [it["name"] for it in api.backtests.list(number)]
    orders = api.backtests.read_orders(number, made.backtestId, 0, 100)
    api.backtests.delete(number, made.backtestId)
    left = len(api.backtests.list(number))
    return {"error": done.error, "listed": listed, "orders": orders["length"], "left": left}


def live(api: Any, number: int, compile_id: str, organization: str, brokerage: Json) -> Json:
    """Start, command and stop a deployment, with one brokerage."""
    nodes = api.nodes.get_all(organization)
    node = next(it for it in nodes.live if not it.busy)
    providers = {"QuantConnectBrokerage": {"id": "QuantConnectBrokerage"}}
    begun = api.live.start(
        number, compile_id, node.id, brokerage, providers, False, -1, False, False, []
    )
    read = lambda: api.live.get_project_by_id(number)  # noqa: E731
    running = until(read, lambda it: it.status.value == "Running")
    command = api.live.command_create(number, {"$type": "Ping"})
    broadcast = api.live.broadcast_command(organization, {"$type": "Ping"}, number)
    busy = next(it for it in api.nodes.get_all(organization).live if it.id == node.id).busy
    if brokerage["id"] == "QuantConnectBrokerage":
        api.live.stop(number)
    else:
        api.live.liquidate_and_stop(number)
    ended = until(read, lambda it: it.status.value != "Running")
    return {
        "same": begun.deployId == running.deployId == ended.deployId,
        "brokerage": running.brokerage, "busy": busy, "ended": ended.status.value,
        "stopped": ended.stopped is not None, "sent": [command.success, broadcast.success],
    }  # fmt: skip


def objects(api: Any, organization: str) -> Json:
    """Set, list, describe, fetch and delete an object."""
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    import requests  # noqa: PLC0415
    from lean.components.util.logger import Logger  # noqa: PLC0415

    api.object_store.set("contract/one.txt", b"some text", organization)
    listed = [it["key"] for it in api.object_store.list("contract", organization)["objects"]]
    size = api.object_store.properties("contract/one.txt", organization)["metadata"]["size"]
    url = api.object_store.get(["contract/one.txt"], organization, Logger())
    packed = zipfile.ZipFile(io.BytesIO(requests.get(url, timeout=10).content))
    content = packed.read("contract/one.txt").decode()
    api.object_store.delete("contract/one.txt", organization)
    left = api.object_store.list("contract", organization)["objects"]
    return {"listed": listed, "size": size, "content": content, "left": left}


def refusals(api: Any, number: int, compile_id: str) -> list[str]:
    """What lean makes of what is refused."""
    from lean.models.errors import RequestFailedError  # noqa: PLC0415

    said = []
    calls: list[Callable[[], object]] = [
        lambda: api.projects.get(999_999_999, None),
        lambda: api.files.get(number, "none.py"),
        lambda: api.compiles.get(number, "none"),
        lambda: api.live.start(number, compile_id, "LN-none", {"id": "QuantConnectBrokerage"},
                               {"a": {"id": "a"}}, False, -1, False, False, []),
        lambda: api.live.stop(number),
    ]  # fmt: skip
    for call in calls:
        try:
            call()
            said.append("")
        except RequestFailedError as error:
            said.append(str(error))
    return said


def main() -> int:
    """Do all of it and tell."""
    request: Json = json.load(sys.stdin)
    answers = sys.stdout
    sys.stdout = sys.stderr  # lean talks
    prepare()
    api = client(request, request["token"])
    told: Json = {"version": f"lean {version('lean')}"}
    told["believed"] = [api.is_authenticated(), client(request, "stolen").is_authenticated()]
    told["projects"] = projects(api, request)
    number, organization = told["projects"]["project"], told["projects"]["organization"]
    built = compiled(api, number)
    told["compile"] = built.state.value
    told["backtest"] = backtest(api, number, built.compileId, request["parameters"])
    told["refusals"] = refusals(api, number, built.compileId)
    told["live"] = [
        live(api, number, built.compileId, organization, it) for it in request["brokerages"]
    ]
    told["objects"] = objects(api, organization)
    api.files.update(number, "main.py", "def broken(:\n")
    broken = compiled(api, number)
    told["broken"] = [broken.state.value, *broken.logs]
    api.projects.delete(number)
    told["gone"] = number not in {it.projectId for it in api.projects.get_all(None)}
    json.dump(told, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
