"""One installation: its folders, its ports and the settings that a person overrode."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# name -> (the port without PORT_BASE, its place after PORT_BASE)
PORTS = {
    "proxy": (8080, 0),
    "api": (8000, 1),
    "streamlit": (8501, 2),
    "supertokens": (3567, 3),
    "postgres": (5433, 4),
    "paper_qc": (5612, 5),
    "paper_test": (5613, 7),
    "worker_metrics": (9101, 8),
}
PORT_MIN, PORT_MAX = 1, 65535
# A unix socket's path holds 107 bytes; Caddy adds to it while it reloads.
SOCKET_PATH_BYTES_MAX = 99
ENV_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
# What a developer's shell says about other Pythons and databases must not reach the services.
FOREIGN_PREFIXES = ("PG", "PYTHON", "MAKE", "MFLAGS", "VIRTUAL_ENV", "CADDY_", "STREAMLIT_")
IMAGES = ("CADDY_IMAGE", "PGBOUNCER_IMAGE", "PYTHON_IMAGE", "STREAMLIT_IMAGE")
KEPT = ("PG_BIN", *IMAGES)


class InstallationError(Exception):
    """The installation cannot run as it is; the message says why and what to do."""


@dataclass(frozen=True)
class Installation:
    """Where one installation keeps its state and which ports it uses."""

    root: Path
    run_dir: Path
    environ: Mapping[str, str]
    ports: Mapping[str, int]

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.run_dir / "logs"

    @property
    def secrets(self) -> Path:
        """The folder of the secret files."""
        return self.run_dir / "secrets"

    @property
    def data(self) -> Path:
        """The data folder of Postgres."""
        return self.run_dir / "postgres"

    @property
    def backups(self) -> Path | None:
        """Where backups and the log of the database go, when somebody chose a place."""
        chosen = self.environ.get("BACKUP_DIR")
        return self.root / chosen if chosen else None

    @property
    def state_file(self) -> Path:
        """What the supervisor last wrote about itself."""
        return self.run_dir / "state.json"

    @property
    def lock_file(self) -> Path:
        """Locked as long as anything of this installation is in charge."""
        return self.run_dir / "lock"

    @property
    def url(self) -> str:
        """The one address that people know."""
        default = f"http://localhost:{self.ports['proxy']}"
        return (self.environ.get("PUBLIC_URL") or default).rstrip("/")

    @property
    def host(self) -> str:
        """The name under which people reach the proxy."""
        return self.url.partition("://")[2].partition("/")[0].rpartition("@")[2]

    def setting(self, name: str, default: str) -> str:
        """Return what a person chose, else the default."""
        return self.environ.get(name) or default

    def make_folders(self) -> None:
        """Make the folders of the state, which nobody else may enter."""
        try:
            for folder in (self.run_dir, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise InstallationError(
                f"{error.filename} cannot be used ({error.strerror}): run as the user who owns"
                f" {self.root}, or name another folder with RUN_DIR"
            ) from error

    def admin_socket(self) -> Path:
        """Return a short enough path for Caddy's private socket."""
        path = self.run_dir / "caddy-admin.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
            return path
        return Path(tempfile.mkdtemp(prefix="informania-")) / "caddy-admin.sock"


def find_installation(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Installation:
    """Read the environment over `.env`."""
    chosen = {name: value for name, value in environ.items() if value}
    merged = {**read_env_file(root / ".env"), **chosen}
    run_dir = root / (merged.get("RUN_DIR") or ".run")
    kept = {
        name: value
        for name, value in merged.items()
        if name in KEPT or not name.startswith(FOREIGN_PREFIXES)
    }
    return Installation(root, Path(os.path.normpath(run_dir)), kept, _ports(merged))


def read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value are taken off, nothing is expanded."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    values = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (match := ENV_LINE.fullmatch(line)) is None:
            raise InstallationError(f"{path}, line {number} is not NAME=value: correct it")
        values[match[1]] = _unquoted(match[2])
    return values


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _ports(environ: Mapping[str, str]) -> dict[str, int]:
    base = environ.get("PORT_BASE")
    if base:
        first = _port("PORT_BASE", base, PORT_MAX - max(place for _, place in PORTS.values()))
        return {name: first + place for name, (_, place) in PORTS.items()}
    ports = {name: port for name, (port, _) in PORTS.items()}
    if chosen := environ.get("HTTP_PORT"):
        ports["proxy"] = _port("HTTP_PORT", chosen, PORT_MAX)
    return ports


def _port(name: str, text: str, port_max: int) -> int:
    if not text.isascii() or not text.isdigit() or not PORT_MIN <= int(text) <= port_max:
        raise InstallationError(f"{name} is {text!r}: give a number from {PORT_MIN} to {port_max}")
    return int(text)
