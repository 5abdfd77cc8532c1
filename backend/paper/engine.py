"""LEAN's part: one deployment of the bridge per account, and the loop that steps them."""

import json
import logging
import os
import secrets
from collections import deque
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from paper.algorithm_imports import load_algorithm
from paper.faults import Faults
from paper.lean_types import order_event
from paper.notify import Notify
from paper.object_store import ObjectStore
from paper.orders import Event as OrderEvent
from paper.settings import Account, Demo, Settings
from paper.venue import Venue

log = logging.getLogger("paper.engine")
QUEUE_MAX = 10_000


class Deployment:
    """One running algorithm with its queue of commands."""

    def __init__(self, project_id: int, algorithm: Any, venue: Venue, faults: Faults) -> None:
        self.project_id, self.algorithm_id = project_id, algorithm.algorithm_id
        self._faults = faults
        self._algorithm, self._venue, self._store = algorithm, venue, algorithm.object_store
        # How many corrections and busts of this project the feed has; saved along with it.
        self._told_key = f"paper/{project_id}/restated"
        known = self._store.contains_key(self._told_key)
        self._told = int(self._store.read(self._told_key)) if known else 0
        # In memory only: a crash loses what waits, as it does in LEAN.
        self._commands: deque[str] = deque()

    def enqueue(self, payload: str) -> bool:
        """Queue a command; True says that and nothing more."""
        if len(self._commands) >= QUEUE_MAX:
            return False
        self._commands.append(payload)
        return True

    def step(self, ticked: bool) -> None:
        """One time slice: commands, order events, data, scheduled calls."""
        self.run_commands()
        self.report(ticked)

    def run_commands(self) -> None:
        """Run what waits."""
        while self._commands:
            self._guarded(self._algorithm._run_command, self._commands.popleft())

    def report(self, ticked: bool) -> None:
        """Tell the algorithm what happened, and let it do what it has scheduled."""
        events = self._venue.take_events(self.project_id)
        for event in self._deliveries(events):
            sign = self._venue.book.orders[event.order_id].sign
            self._guarded(self._algorithm.on_order_event, order_event(event, sign))
        for event in (event for event in events if event.quantity):
            self._venue.restate(event)
        for event in self._venue.restated(self.project_id, self._told):
            self._guarded(self._tell_restated, event)
        if ticked:
            self._guarded(self._algorithm._show, dict(self._venue.book.prices))
        self._guarded(self._algorithm.schedule.run_due, monotonic())

    def _tell_restated(self, event: OrderEvent) -> None:
        """Report a correction or a bust through the bridge's feed: LEAN itself has no word for it.

        The feed and how far it was told reach the disk together, so each is reported once.
        """
        tag = self._venue.book.orders[event.order_id].tag
        exec_id = f"{self.algorithm_id}-{event.order_id}-{event.event_id}"
        detail: dict[str, Any] = {"exec_id": exec_id, "exec_revision": event.revision}
        detail["event_id"] = f"{exec_id}.{event.revision}"
        if event.quantity:
            detail |= {"status": event.status, "fee": str(event.fee), "fee_currency": "USD"}
            detail |= {"fill_quantity": str(event.quantity), "fill_price": str(event.price)}
        with self._algorithm._lock:
            self._algorithm._feed.emit("order_event" if event.quantity else "bust", tag, **detail)
            self._told += 1
            self._store.save(self._told_key, str(self._told))
            self._algorithm._save()

    def _deliveries(self, events: list[OrderEvent]) -> list[OrderEvent]:
        """What the algorithm is told, after the faults: nothing, twice, or the last thing first."""
        told: list[OrderEvent] = []
        for event in events:
            ids = [self._venue.book.orders[event.order_id].tag]
            if self._faults.take("lost_event", ids, self.project_id):
                continue
            first = event.quantity and self._faults.take("fill_before_ack", ids, self.project_id)
            told.insert(0 if first else len(told), event)
            if event.quantity and self._faults.take("duplicate_fill", ids, self.project_id):
                told.append(event)
        return told

    def _guarded(self, call: Any, argument: Any) -> None:
        """LEAN swallows what a command raises; one broken command must not stop the others."""
        try:
            call(argument)
        except OSError:
            raise
        except Exception:
            log.exception("algorithm of project %s raised", self.project_id)


class Engine:
    """Deploys the bridge for every account and runs until stopped."""

    def __init__(self, settings: Settings, demo: Demo, venue: Venue, faults: Faults) -> None:
        self._settings, self._venue = settings, venue
        self._store = ObjectStore(settings.paper_state_dir / "object_store")
        venue.before_commit = self._store.commit
        self._notifies: list[Notify] = []
        self._stopping = Event()
        self.failed = Event()
        venue.advance()
        ids = _deploy_ids(settings.paper_state_dir / "deployments.json", demo.accounts)
        symbols = ",".join(instrument.symbol for instrument in demo.instruments)
        self.deployments = {
            account.project_id: self._deploy(account.project_id, ids, symbols, faults)
            for account in demo.accounts
        }
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5)
        for notify in self._notifies:
            notify.close()
        self._store.close()

    def _deploy(
        self, project_id: int, ids: dict[str, dict[str, Any]], symbols: str, faults: Faults
    ) -> Deployment:
        deployed, settings = ids[str(project_id)], self._settings
        parameters = {
            "webhook_url": settings.webhook_url,
            "webhook_secret": settings.webhook_hmac.get_secret_value().strip(),
            "source": f"qc:{project_id}",
            "epoch": str(deployed["epoch"]),
            "symbols": symbols,
            "interval_s": str(settings.bridge_interval_seconds),
            "pulse_s": str(settings.paper_step_seconds),
            "history": "tagged",
            "dedupe": settings.bridge_dedupe,
        }
        notify = Notify(faults, project_id)
        self._notifies.append(notify)
        algorithm = load_algorithm(settings.bridge_file, f"bridge_{project_id}")()
        algorithm._deploy(
            self._venue,
            project_id=project_id,
            algorithm_id=deployed["deploy_id"],
            parameters=parameters,
            object_store=self._store,
            notify=notify,
        )
        algorithm.initialize()
        return Deployment(project_id, algorithm, self._venue, faults)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._settings.paper_step_seconds):
                self._step(self._venue.advance())
        except Exception:
            # Crash-only: what is on disk is the truth, and a new start reads it.
            log.exception("the engine stopped")
            self.failed.set()

    def _step(self, ticked: bool) -> None:
        """One time slice of all deployments, on disk by three writes however many orders it has.

        First what an order needs to be found again, then the orders, then what is told of them;
        between taking an order and its commit nobody can read it.
        """
        with self._venue.lock:
            for deployment in self.deployments.values():
                deployment.run_commands()
            self._venue.commit()
        for deployment in self.deployments.values():
            deployment.report(ticked)
        self._store.commit()
        for notify in self._notifies:
            notify.release()


def _deploy_ids(path: Path, accounts: tuple[Account, ...]) -> dict[str, dict[str, Any]]:
    """Deploy id and epoch of each project; kept, so that a restart is the same deployment."""
    ids: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    for account in accounts:
        fresh = {"deploy_id": f"L-{secrets.token_hex(16)}", "epoch": 1}
        ids.setdefault(str(account.project_id), fresh)
    new = path.with_name(path.name + ".new")
    with new.open("w") as file:
        json.dump(ids, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    return ids
