"""Databases that take minutes to fill: made once on disk, kept under .run/bench, used many times.

A template is a whole data folder, named by a hash of the table files and of what fills it, so that
a change of either makes it anew. What holds no data (procedures, views, policies, grants) is laid
anew at each use, as an upgrade does it.
"""

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import psycopg
from bench.bench_cluster import DATABASE, superuser
from fixtures_postgres import SECRETS, Cluster
from postgres_servers import running_postgres

from app.services import database_setup
from native import postgres
from native.installation import ROOT

HERE = Path(__file__).parent
KEPT = ROOT / ".run" / "bench"
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own in it)
GIB = 2**30
# Nothing of a fill that is cut short is kept, so nothing of it must be safe; nothing else runs.
WHILE_FILLING = {
    "fsync": "off", "autovacuum": "off", "max_wal_size": "8GB", "checkpoint_timeout": "1h",
    "maintenance_work_mem": "512MB",
}  # fmt: skip
STEP = re.compile(r"^-- step: (.+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """What a kept database holds: a script of this folder, and the sizes that it is given."""

    name: str
    script: str
    sizes: dict[str, int]
    # Laid before the script, in every database: SQL of the same superuser.
    master_data: str = ""
    # Databases of the same master data that stay empty otherwise.
    empty: tuple[str, ...] = ()
    disk_gib: int = 8

    def folder(self) -> Path:
        """Where it is kept."""
        text = [table_files(), (HERE / self.script).read_text(), self.master_data, repr(self)]
        digest = hashlib.sha256("\0".join(text).encode()).hexdigest()
        return KEPT / f"{self.name}-{digest[:12]}"

    def ensure(self) -> Path:
        """Return its folder, filled; that takes minutes the first time."""
        folder = self.folder()
        if folder.is_dir():
            return folder
        for older in KEPT.glob(f"{self.name}-*"):
            shutil.rmtree(older)
        KEPT.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(KEPT).free / GIB
        if free < self.disk_gib:
            raise SystemExit(f"{KEPT} has {free:.0f} GiB left, {self.name} needs {self.disk_gib}")
        partial = folder.with_name(f"{folder.name}.partial")
        passwords = partial / "secrets"
        passwords.mkdir(mode=0o700, parents=True)
        for secret in SECRETS:
            (passwords / secret).write_text(secrets.token_hex(32))
        started = monotonic()
        with served(partial) as cluster:
            self._fill(cluster)
        partial.rename(folder)
        say(f"{self.name}: filled in {monotonic() - started:.0f} s, {size_gib(folder):.1f} GiB")
        return folder

    def _fill(self, cluster: Cluster) -> None:
        with cluster.settings("postgres").connect("postgres") as connection:
            for name, value in WHILE_FILLING.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
        for database in (DATABASE, *self.empty):
            say(f"{self.name}: {database}: real migrations and master data")
            database_setup.bootstrap(cluster.settings(database))
            database_setup.migrate(cluster.settings(database))
            with superuser(cluster, database=database) as connection:
                connection.execute(self.master_data.encode() or b"SELECT")
        with superuser(cluster, autocommit=True) as connection:
            fill(connection, self.script, self.sizes)
        with cluster.settings("postgres").connect("postgres") as connection:
            connection.execute("ALTER SYSTEM RESET ALL")
            connection.execute("SELECT pg_reload_conf()")


def fill(connection: psycopg.Connection, script: str, sizes: dict[str, int]) -> None:
    """Run the steps of a script of this folder as superuser and say how long each takes."""
    connection.execute("SET session_replication_role = replica")
    connection.execute("SELECT set_config('bench.now', now()::text, FALSE)")
    for name, value in sizes.items():
        connection.execute("SELECT set_config(%s, %s, FALSE)", [f"bench.{name}", str(value)])
    _, *steps = STEP.split((HERE / script).read_text())
    for title, text in zip(steps[::2], steps[1::2], strict=True):
        started = monotonic()
        connection.execute(text.encode())
        say(f"    {title}: {monotonic() - started:.1f} s")
    started = monotonic()
    connection.execute("VACUUM ANALYZE")
    connection.execute("RESET session_replication_role")
    say(f"    vacuum, analyze: {monotonic() - started:.1f} s")


@contextmanager
def served(folder: Path, *, in_memory: bool = False) -> Iterator[Cluster]:
    """Run the server of a template; in memory it is a copy that ends with the block."""
    if in_memory:
        copy = MEMORY / f"informania-bench-{secrets.token_hex(6)}"
        try:
            shutil.copytree(folder, copy)
            with served(copy) as cluster:
                yield cluster
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return
    passwords = folder / "secrets"
    with running_postgres(folder, passwords / "postgres_password") as port:
        yield Cluster(port, passwords)


def table_files() -> str:
    """Return the SQL of everything that holds data, in the words of its files."""
    settings = database_setup.SetupSettings(secrets_dir=KEPT)
    laid_anew = {settings.path(name) for name in database_setup.repeatable_files(settings)}
    found = [*(ROOT / "db/postgres").rglob("*.sql"), *(ROOT / "db/migrations").rglob("*.sql")]
    found += (ROOT / "backend/src/app").rglob("*.sql")
    version = postgres.major_version(postgres.find_binaries())
    texts = [path.read_text() for path in sorted(found) if path not in laid_anew]
    return "\0".join([str(version), *texts])


def size_gib(folder: Path) -> float:
    """Return how much a folder holds."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / GIB


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)  # noqa: T201
