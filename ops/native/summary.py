"""What a person reads about a running platform: the table, the address and who may sign in."""

import json
from collections.abc import Sequence
from typing import Any

from native.installation import Installation
from native.processes import is_marked
from native.state import State, read_state

WELL = ("healthy", "done")
COLUMNS = ("SERVICE", "STATE", "PID", "RESTARTS", "ADDRESS")


def running_state(it: Installation) -> State | None:
    """Return the state of a platform that is up, None when its supervisor is not in charge."""
    state = read_state(it.state_file)
    supervisor = state.get("supervisor")
    alive = isinstance(supervisor, int) and is_marked(supervisor, it.run_dir)
    return state if alive and state.get("phase") == "running" else None


def current_state(it: Installation) -> State:
    """Return the state as it is now: what a supervisor that is gone last wrote does not count."""
    state = read_state(it.state_file)
    supervisor = state.get("supervisor")
    if isinstance(supervisor, int) and is_marked(supervisor, it.run_dir):
        return {**state, "url": url_of(state)}
    phase = "failed" if state.get("phase") == "failed" else "stopped"
    services = {
        name: {**facts, "state": "stopped", "pid": None}
        for name, facts in state.get("services", {}).items()
    }
    failure = state.get("failure", "")
    return {"supervisor": None, "phase": phase, "failure": failure, "services": services}


def url_of(state: State) -> str:
    """Return the address people use; the ports are those it was started with."""
    return str(state.get("services", {}).get("proxy", {}).get("address", ""))


def render(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def table(state: State) -> str:
    """Return the services as a table; finished one-shots are left out once all is up."""
    rows: list[Sequence[str]] = [COLUMNS]
    for name, facts in state["services"].items():
        if not (facts["oneshot"] and facts["state"] in ("done", "stopped")):
            rows.append((name, *_cells(facts)))
    return render(rows)


def _cells(facts: dict[str, Any]) -> tuple[str, str, str, str]:
    pid, restarts = str(facts["pid"] or "-"), str(facts["restarts"])
    return facts["state"], pid, restarts, facts["address"]


def print_summary(it: Installation) -> None:
    """Print the table, the address and the demo users of a platform on this machine."""
    state = read_state(it.state_file)
    print_platform(it, {**state, "url": url_of(state)})


def print_platform(it: Installation, state: State) -> None:
    """Print the table, the address and the demo users."""
    print(f"\n{table(state)}\n\nInformania is up: {state['url']}", flush=True)
    users = _demo_users(it)
    if users:
        print(f"\n{render(users)}\n\nTheir passwords are in {it.run_dir / 'demo.json'}", flush=True)


def _demo_users(it: Installation) -> list[tuple[str, str]]:
    try:
        demo = json.loads((it.run_dir / "demo.json").read_text())
        return [(str(user["role"]), str(user["email"])) for user in demo["users"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
