"""Loses a database under load and gets it back; prints what was lost and how long it took.

usage: python tests/restore/run.py [--orders 3000]

RPO is the age of the newest acknowledged order that came back, at the moment of the loss; RTO the
time from the call of `informania-admin restore` until Postgres lets sessions in again. Rows go to
.run/bench/restore.json. Exits 1 when a goal is missed.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops"):
    sys.path.insert(0, str(ROOT / _folder))

from restore_world import Premises, drill, folder_in_memory  # noqa: E402

# Seconds: what a lost disk may cost, and how long the desk may stand still.
RPO_GOAL_S, RTO_GOAL_S = 60, 300


def main() -> int:
    """Run the drill and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=3000)
    orders = parser.parse_args().orders
    with folder_in_memory() as folder:
        premises = Premises(folder)
        try:
            premises.prepare()
            figures = asyncio.run(drill(premises, orders=orders))
        finally:
            premises.stop()
    rows: list[dict[str, Any]] = [
        {"name": name, "ratio": value, "goal": goal, "higher_is_better": False}
        for name, value, goal in (
            ("restore_rpo_s", figures.rpo_s, RPO_GOAL_S),
            ("restore_rto_s", figures.rto_s, RTO_GOAL_S),
        )
    ]
    target = ROOT / ".run" / "bench" / "restore.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    print(  # noqa: T201
        f"orders acknowledged {figures.orders}, not archived yet when the disk was lost"
        f" {figures.lost}\n"
        f"RPO {figures.rpo_s:.2f} s (goal {RPO_GOAL_S} s)   RTO {figures.rto_s:.1f} s"
        f" (goal {RTO_GOAL_S} s)\n"
        f"backup under load {figures.backup_s:.1f} s, copy of a moment"
        f" {figures.to_the_moment_s:.1f} s, every row as it was"
    )
    return int(figures.rpo_s > RPO_GOAL_S or figures.rto_s > RTO_GOAL_S)


if __name__ == "__main__":
    sys.exit(main())
