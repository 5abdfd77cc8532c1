"""The doctor examines the platform as it runs: nothing is wrong but that there is no backup."""

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest
from platform_client import ROOT, Platform, Trader

SETTLE_S = 60


def examined(platform: Platform) -> list[dict[str, str]]:
    environment = {
        **os.environ,
        "RUN_DIR": str(platform.run_dir),
        "PORT_BASE": str(platform.port_base),
    }
    done = subprocess.run(
        [sys.executable, "-m", "app.admin", "--json", "doctor"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.platform
@pytest.mark.xdist_group("platform")
@pytest.mark.skipif(os.environ.get("PLATFORM") == "compose", reason="it examines a native one")
async def test_a_platform_that_is_up_is_well(platform: Platform, trader: Trader) -> None:
    assert (await trader.place("examined")).status_code == 201
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = await asyncio.to_thread(examined, platform)
        complaints = [row for row in found if row["level"] != "ok"]
        # The first anchor is made ten seconds after the start.
        if [(row["check"], row["level"]) for row in complaints] == [("backups", "warn")]:
            break
        assert time.monotonic() < deadline, complaints
    assert {row["what"] for row in found if row["check"] == "processes"} == {
        f"{name} is well" for name in ("api", "worker", "streamlit", "proxy")
    }
