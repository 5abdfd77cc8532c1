"""Puts load on the platform through Caddy, then checks that every confirmed order exists once.

usage: python tests/load/run.py [--users 20] [--seconds 30] [--url URL [--demo FILE]]

Without --url it starts a platform of its own, with a trader and an account for each user, and ends
it afterwards. With --url it uses an installation that runs; the books are then read through the
API alone. Prints the figures and writes .run/load.json; they depend on the machine, so none is
required. Exits 1 when an answer was not as expected or the books are not as confirmed.
"""

import argparse
import asyncio
import json
import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "crash")]

from load.books import Verdict, check_by_api, check_platform  # noqa: E402
from load.demo import write_load_demo  # noqa: E402
from load.hops import drawn, histogram, hops  # noqa: E402
from platform_client import Platform  # noqa: E402

LOCUST = Path(sys.executable).with_name("locust")
# Beyond the measured time: signing in, and answers that are on their way.
SPARE_S = 120
NO_SECONDS = 1e-9


def main() -> int:
    """Load, check, report; return the exit code."""
    options = read_options()
    # Ending like after Ctrl-C, so that nothing of ours is left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="load-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        report = visit(options, folder) if options.url else own(options, folder)
    target = ROOT / ".run" / "load.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=2) + "\n")
    say(summary(report))
    return int(bool(report["failures"] or report["breaches"] or not report["orders"]))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--url", default="", help="of an installation that runs")
    parser.add_argument("--demo", type=Path, default=ROOT / ".run" / "demo.json")
    return parser.parse_args()


def own(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Load a platform of our own and look behind every curtain of it."""
    platform = Platform(
        folder / "run",
        env={
            "DEMO_CONFIG": str(write_load_demo(folder / "demo", options.users)),
            "SIGNIN_LIMIT_PER_MINUTE": "100000",
        },
    )
    try:
        platform.start()
        demo = platform.run_dir / "demo.json"
        ledger = load(platform.url, demo, options, folder)
        started = monotonic()
        verdict = asyncio.run(check_platform(platform, ledger["confirmed"]))
        report = digest(platform.url, options.users, ledger, verdict, monotonic() - started)
        return {**report, "hops": asyncio.run(measured_hops(platform))}
    finally:
        platform.stop()


async def measured_hops(platform: Platform) -> dict[str, dict[str, Any]]:
    """How long each hop of an order took, by the audit chain."""
    database = await platform.database()
    try:
        return {
            name: {**percentiles(values), "histogram": histogram(values)}
            for name, values in (await hops(database)).items()
        }
    finally:
        await database.close()


def visit(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Load an installation that somebody else started."""
    url = options.url.rstrip("/")
    users = json.loads(options.demo.read_text())["users"]
    ledger = load(url, options.demo, options, folder)
    started = monotonic()
    verdict = asyncio.run(check_by_api(url, users, ledger["confirmed"]))
    return digest(url, options.users, ledger, verdict, monotonic() - started)


def load(url: str, demo: Path, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run locust in a process of its own: it replaces sockets and threads by its own."""
    ledger = folder / "ledger.json"
    arguments = {
        "--locustfile": ROOT / "tests" / "load" / "locustfile.py",
        "--host": url,
        "--demo": demo,
        "--ledger": ledger,
        "--users": options.users,
        "--spawn-rate": options.users,
        "--measure": options.seconds,
        "--run-time": f"{math.ceil(options.seconds) + SPARE_S}s",
        "--stop-timeout": 30,
        "--exit-code-on-error": 0,
        "--loglevel": "WARNING",
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    done = subprocess.run(
        [LOCUST, "--headless", "--only-summary", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=options.seconds + 2 * SPARE_S,
        check=False,
    )
    if done.returncode != 0 or not ledger.exists():
        raise SystemExit(f"locust failed ({done.returncode}):\n{done.stdout[-4000:]}")
    document: dict[str, Any] = json.loads(ledger.read_text())
    return document


def digest(
    url: str, users: int, ledger: dict[str, Any], verdict: Verdict, rest_s: float
) -> dict[str, Any]:
    """Boil a run down to what .run/load.json keeps."""
    counted, took_ms = ledger["counted"], ledger["took_ms"]
    seconds = ledger["seconds"] or NO_SECONDS
    everything = [value for values in took_ms.values() for value in values]
    return {
        "url": url,
        "users": users,
        "seconds": round(seconds, 2),
        "orders": counted.get("placed", 0),
        "orders_per_s": round(counted.get("placed", 0) / seconds, 1),
        "requests_per_s": round(len(everything) / seconds, 1),
        **percentiles(everything),
        "calls": {name: percentiles(values) for name, values in sorted(took_ms.items())},
        **{name: counted.get(name, 0) for name in ("denied", "replayed", "canceled", "too_late")},
        "failures": counted.get("failed", 0),
        "problems": ledger["problems"],
        "never_sent": verdict.never_sent,
        "breaches": verdict.breaches,
        "rest_s": round(rest_s, 2),
    }


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return how many there are, and the values below which 50, 95 and 99 of 100 lie."""
    ranked = sorted(values)
    if not ranked:
        return {"count": 0}
    places = {f"p{p}_ms": math.ceil(len(ranked) * p / 100) - 1 for p in (50, 95, 99)}
    return {"count": len(ranked), **{k: round(ranked[place], 1) for k, place in places.items()}}


def summary(report: dict[str, Any]) -> str:
    """Write the figures for a person."""
    lines = [
        f"{report['users']} traders for {report['seconds']} s at {report['url']}",
        f"{report['orders_per_s']} orders/s, {report['requests_per_s']} requests/s",
        f"{'':24}{'count':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}",
        *(_row(name, figures) for name, figures in {"all": report, **report["calls"]}.items()),
        *(_row(name, figures) for name, figures in report.get("hops", {}).items()),
        f"{report['orders']} orders confirmed, {report['denied']} denied by a limit, "
        f"{report['replayed']} replayed, {report['canceled']} canceled, "
        f"{report['too_late']} too late to cancel",
        *[f"{n} ended before the venue: {why}" for why, n in report["never_sent"].items()],
        *_click_to_fill(report.get("hops", {})),
        f"at rest and checked after {report['rest_s']} s",
        f"{report['failures']} failures, {len(report['breaches'])} breaches of the books",
    ]
    return "\n".join(lines + [f"  {text}" for text in report["problems"] + report["breaches"]][:40])


def _click_to_fill(measured: dict[str, Any]) -> list[str]:
    total = measured.get("recorded to filled")
    return [] if total is None else ["recorded to filled:", *drawn(total["histogram"])]


def _row(name: str, figures: dict[str, Any]) -> str:
    cells = [f"{figures.get(f'p{p}_ms', '-'):>9}" for p in (50, 95, 99)]
    return f"{name:24}{figures['count']:>8}{''.join(cells)}"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
