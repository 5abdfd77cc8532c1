"""What the commands on this machine share: its installation, and its database around the API."""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from app.admin.client import Failed
from app.audits.anchors import AnchorInvalid
from app.audits.sinks import SinkError
from app.services.database_setup import SetupError, SetupSettings
from app.services.lmdb_errors import LmdbError
from native import backups, mode, postgres
from native.installation import Installation, InstallationError, find_installation
from native.wal_archive import ArchiveError

EXPECTED = (
    *(backups.BackupError, postgres.PostgresError, InstallationError, ArchiveError),
    *(SetupError, SinkError, AnchorInvalid, LmdbError, psycopg.Error, OSError),
)


@dataclass(frozen=True)
class Machine:
    """One installation, as its own environment names it."""

    installation: Installation

    @property
    def in_containers(self) -> bool:
        """Whether the platform of this folder runs in containers."""
        return mode.choose(self.installation, "doctor")[0] == "docker"

    @property
    def binaries(self) -> Path:
        """The folder of Postgres' programs."""
        return postgres.find_binaries(self.installation.environ)

    @property
    def anchor_sink(self) -> str:
        """Where anchors lie; as the runner has it, unless somebody chose."""
        it = self.installation
        return it.setting("ANCHOR_SINK", f"folder:{it.run_dir / 'anchors'}")

    @property
    def hot_store(self) -> Path:
        """The folder of the hot store."""
        return Path(self.installation.setting("LMDB_DIR", str(self.installation.run_dir / "lmdb")))

    @property
    def hot_library(self) -> Path:
        """The hot store's library."""
        built = self.installation.root / "backend/zig-lmdb/target/libzig_lmdb.so"
        return Path(self.installation.setting("LMDB_LIBRARY", str(built)))

    def settings(self, port: int | None = None) -> SetupSettings:
        """Return how its database is reached; the environment wins, but not over a port."""
        it = self.installation
        chosen: dict[str, object] = {}
        if not os.environ.get("SECRETS_DIR"):
            chosen["secrets_dir"] = it.secrets
        if port is not None or not os.environ.get("DATABASE_PORT"):
            chosen["database_port"] = port or it.ports["postgres"]
        return SetupSettings.load(**chosen)

    def backups(self, named: str | None) -> Path:
        """Return the folder of the backups: the one that was named, or BACKUP_DIR."""
        folder = Path(named).absolute() if named else self.installation.backups
        if folder is None:
            raise Failed("where are the backups? name a folder, or set BACKUP_DIR in .env")
        return folder


@contextmanager
def on_machine(*, native: bool = False) -> Iterator[Machine]:
    """Find the installation; what is known to go wrong ends in one sentence."""
    try:
        machine = Machine(find_installation())
        if native and machine.in_containers:
            raise Failed(
                "the platform of this folder runs in containers, which this does not reach:"
                " docs/backup.md says what stands in for it there"
            )
        yield machine
    except EXPECTED as error:
        raise Failed(str(error).strip()) from error


def free_port() -> int:
    """Return a port that nobody listens on, none that the kernel gives to connections (ip(7))."""
    for port in random.SystemRandom().sample(range(20_000, 32_768), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise Failed("none of 100 ports on 127.0.0.1 from 20000 to 32767 can be had")
