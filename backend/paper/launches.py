"""Live deployments as they are remembered: what runs where, since when, and what ended."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from paper.cloud import replace_file

PAPER, INTERACTIVE_BROKERS = "QuantConnectBrokerage", "InteractiveBrokersBrokerage"
WAITING, RUNNING, STOPPED, LIQUIDATED, FAILED = (
    "InQueue",
    "Running",
    "Stopped",
    "Liquidated",
    "RuntimeError",
)
ALIVE = (WAITING, RUNNING)
KEPT_MAX = 1_000


@dataclass
class Launch:
    """One live deployment of a project."""

    project_id: int
    node_id: str
    deploy_id: str = field(default_factory=lambda: f"L-{secrets.token_hex(16)}")
    brokerage: str = PAPER
    status: str = WAITING
    launched: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    stopped: str | None = None
    message: str = ""
    opening_cash: str = "100000"
    # None: the bridge of this checkout, with what the venue's settings say.
    parameters: dict[str, str] | None = None
    # LEAN knows the orders of a run, and those that were open when it began, without their past.
    first_order_id: int = 1
    reloaded: dict[int, int] = field(default_factory=dict)

    def shows(self, order_id: int) -> bool:
        """Say whether this deployment knows of an order."""
        return order_id >= self.first_order_id or order_id in self.reloaded


class Launches:
    """All of them in the order in which they came; on disk after each change."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "launches.json"
        self._lock = Lock()
        self.all: list[Launch] = []
        if self._path.exists():
            for row in json.loads(self._path.read_text()):
                row["reloaded"] = {int(key): count for key, count in row["reloaded"].items()}
                self.all.append(Launch(**row))

    def add(self, launch: Launch) -> None:
        """Remember a deployment that is to begin."""
        self.all = [*self.all[-KEPT_MAX:], launch]
        self.save()

    def save(self) -> None:
        """Put all on disk."""
        with self._lock:
            replace_file(self._path, json.dumps([asdict(it) for it in self.all]))

    def of(self, project_id: int) -> list[Launch]:
        """Return those of a project, the newest last."""
        return [it for it in self.all if it.project_id == project_id]

    def alive(self) -> list[Launch]:
        """Return those that run or are about to."""
        return [it for it in self.all if it.status in ALIVE]

    def end(self, launch: Launch, status: str, message: str = "") -> None:
        """Note that one has ended, and how."""
        launch.status, launch.message = status, message
        launch.stopped = datetime.now(UTC).isoformat()
        self.save()

    def deploy_id_at(self, project_id: int, moment: datetime) -> str:
        """Name the deployment of a project that reported what happened at a moment."""
        begun = [it for it in self.of(project_id) if datetime.fromisoformat(it.launched) <= moment]
        found = begun or self.of(project_id)[:1]
        return found[-1].deploy_id if found else ""
