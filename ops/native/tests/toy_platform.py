"""Runs toy services under the real guard and supervisor: toy_platform.py RUN_DIR SPEC.

SPEC is JSON: a list of services; `script` is a shell script with $DIR as the run folder, and
a service is healthy once its file `NAME.up` is there.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from native.processes import MARK, guard
from native.spec import Policy, Service
from native.supervisor import Supervisor

POLICY = Policy(
    probe_interval_s=0.02,
    watch_interval_s=0.1,
    backoff_base_s=0.02,
    backoff_max_s=0.2,
    progress_interval_s=0.3,
    sweep_interval_s=0.2,
    restart_attempts_max=4,
)


def _service(run_dir: Path, facts: dict[str, Any]) -> Service:
    facts = dict(facts)
    name, script = facts["name"], facts.pop("script")
    probe = None
    if not facts.get("oneshot"):
        script = f"rm -f $DIR/{name}.up; {script}"

        async def probe() -> bool:
            return (run_dir / f"{name}.up").exists()

    facts["needs"] = tuple(facts.get("needs", ()))
    facts["stop_signal"] = signal.Signals(facts.get("stop_signal", signal.SIGTERM))
    env = {**os.environ, "DIR": str(run_dir), MARK: str(run_dir)}
    argv = ("/bin/bash", "-c", script)
    return Service(argv=argv, cwd=run_dir, env=env, probe=probe, **facts)


def main(run_dir: Path, spec: str) -> int:
    """Supervise what the spec says."""
    services = [_service(run_dir, facts) for facts in json.loads(spec)]

    def say(line: str) -> None:
        print(line, flush=True)

    return guard(lambda: asyncio.run(Supervisor(services, run_dir, say, POLICY).run()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
