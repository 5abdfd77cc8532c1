"""Counts what a backend executes for one call of a script, in thousands of instructions.

usage: python tests/bench/instructions.py [--calls 100] [place.sql batch50.sql ...]

Times swing by a tenth and more from run to run, this figure by less than a hundredth: it tells what
one change of a procedure is worth. A copy of a bench database is asked in the single-user mode of
Postgres under callgrind (Debian's valgrind), once for few calls and once for many; the figure is
what the others cost each. A client, the network and the disk are not in it, and the statement
itself is planned anew for each call. The profile stays as .run/bench/callgrind.SCRIPT, for
callgrind_annotate.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops"):
    sys.path.insert(0, str(ROOT / _folder))

from bench.bench_cluster import ACCOUNTS, DATABASE, bench_cluster, freshen, superuser  # noqa: E402
from bench.throughput import SCRIPTS, pgbench  # noqa: E402
from fixtures_postgres import Cluster  # noqa: E402

from native import postgres  # noqa: E402

KEPT = ROOT / ".run/bench"
FEW = 10
TIMEOUT_S = 600
# Under callgrind a minute is an hour: nothing happens beside, and prices stay new.
AT_REST = (
    "ALTER SYSTEM SET autovacuum = off",
    "ALTER SYSTEM SET commit_delay = 0",
    "SELECT pg_reload_conf()",
    "UPDATE market.last_prices SET received_at = clock_timestamp() + interval '1 h'",
    "VACUUM ANALYZE",
    "CHECKPOINT",
)


def main() -> int:
    """Print a line for each script."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=(__doc__ or "").partition("\n\n")[2].partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calls", type=int, default=100, help="calls that are counted (100)")
    parser.add_argument("scripts", nargs="*", default=["insert.sql", "place.sql", "batch50.sql"])
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not there: apt-get install valgrind")
    if unknown := [name for name in arguments.scripts if not (SCRIPTS / name).is_file()]:
        parser.error(f"no script of {SCRIPTS.relative_to(ROOT)}: {', '.join(unknown)}")
    if arguments.calls < 1:
        parser.error("--calls is 1 or more")
    KEPT.mkdir(parents=True, exist_ok=True)
    with bench_cluster() as cluster:
        data_dir = _at_rest(cluster)
        for script in arguments.scripts:
            # The last one's profile stays.
            few = _instructions(data_dir, script, FEW)
            many = _instructions(data_dir, script, FEW + arguments.calls)
            each = (many - few) / arguments.calls / 1000
            sys.stdout.write(f"{script:16} {each:10,.0f} thousand instructions a call\n")
            sys.stdout.flush()
    return 0


def _at_rest(cluster: Cluster) -> Path:
    freshen(cluster)
    # Tables as they are after some orders, so that their plans are those of every day.
    pgbench(cluster, "place.sql", clients=2, seconds=5, role="app_write")
    freshen(cluster)
    with superuser(cluster, autocommit=True) as connection:
        for statement in AT_REST:
            connection.execute(statement)
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    return Path(folder)


def _instructions(data_dir: Path, script: str, calls: int) -> int:
    """Return what so many calls execute, the start of the server included."""
    with tempfile.TemporaryDirectory(prefix="informania-bench-", dir="/dev/shm") as name:
        copy, profile = Path(name, "data"), Path(name, "data", "callgrind.out")
        shutil.copytree(data_dir, copy, ignore=shutil.ignore_patterns("postmaster.*"))
        copy.chmod(0o700)
        binary = postgres.find_binaries() / "postgres"
        done = subprocess.run(
            [
                *postgres.owned_prefix(binary.parent, copy),
                *("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={profile}"),
                *(str(binary), "--single", "-j", "-D", str(copy), DATABASE),
            ],
            input=_statements(script, calls),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        # It goes on after an error, which would cost less than a call.
        if done.returncode != 0 or "ERROR:" in done.stderr or not profile.is_file():
            raise RuntimeError(f"{script} under callgrind: {done.stderr[-1500:]}")
        text = profile.read_text()
        (KEPT / f"callgrind.{Path(script).stem}").write_text(text)
    (total,) = re.findall(r"^totals: (\d+)", text, re.MULTILINE)
    return int(total)


def _statements(script: str, calls: int) -> str:
    """Return what to ask, the same accounts each time."""
    chance = random.Random(7)
    lines = [line.strip() for line in (SCRIPTS / script).read_text().splitlines()]
    text = " ".join(line for line in lines if not line.startswith(("\\set", "--"))).rstrip(";")
    accounts = [str(chance.randint(1, ACCOUNTS)) for _ in range(calls)]
    return "".join(f"{text.replace(':account', account)};\n\n" for account in accounts)


if __name__ == "__main__":
    sys.exit(main())
