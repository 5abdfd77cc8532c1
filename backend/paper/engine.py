"""LEAN's part: the deployments that run, and the loop that starts, steps and ends them."""

import logging
import shutil
import traceback
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from paper.algorithm_imports import QCAlgorithm, load_algorithm
from paper.charts import EquityChart, worth
from paper.faults import Faults
from paper.launches import (
    ALIVE,
    FAILED,
    LIQUIDATED,
    RUNNING,
    STOPPED,
    WAITING,
    Launch,
    Launches,
)
from paper.lean_types import order_event
from paper.notify import Notify
from paper.object_store import ObjectStore
from paper.orders import Event as OrderEvent
from paper.settings import Demo, Settings
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
        self.chart = EquityChart()

    @property
    def logs(self) -> list[str]:
        """What the algorithm said."""
        return list(self._algorithm.logs)

    @property
    def statistics(self) -> dict[str, str]:
        """What the algorithm shows of itself."""
        return dict(self._algorithm.runtime_statistics)

    @property
    def has_quit(self) -> bool:
        return bool(self._algorithm.has_quit)

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
            ids = [self._venue.book.orders[event.order_id].tag]
            if self._faults.take("duplicate_fill_new_id", ids, self.project_id):
                self._guarded(self._tell_again, event)
            self._venue.restate(event)
        for event in self._venue.restated(self.project_id, self._told):
            self._guarded(self._tell_restated, event)
        if ticked:
            self._sample()
            self._guarded(self._algorithm._show, dict(self._venue.book.prices))
        self._guarded(self._algorithm.schedule.run_due, monotonic())

    def _sample(self) -> None:
        book = self._venue.book
        with self._venue.lock:
            value = worth(book.accounts[self.project_id], book.prices)
        self.chart.sample(int(self._venue.ticked_at.timestamp()), float(value))

    def _tell_restated(self, event: OrderEvent) -> None:
        """Report a correction or a bust through the bridge's feed: LEAN itself has no word for it.

        The feed and how far it was told reach the disk together, so each is reported once.
        """
        tag = self._venue.book.orders[event.order_id].tag
        exec_id = self._exec_id(event)
        detail: dict[str, Any] = {"exec_id": exec_id, "exec_revision": event.revision}
        detail["event_id"] = f"{exec_id}.{event.revision}"
        if event.quantity:
            detail |= _fill(event)
        with self._algorithm._lock:
            self._algorithm._feed.emit("order_event" if event.quantity else "bust", tag, **detail)
            self._told += 1
            self._store.save(self._told_key, str(self._told))
            self._algorithm._save()

    def _tell_again(self, event: OrderEvent) -> None:
        """Report a fill once more as another one, which the venue's own books do not have."""
        tag = self._venue.book.orders[event.order_id].tag
        exec_id = f"{self._exec_id(event)}-again"
        with self._algorithm._lock:
            detail = {"exec_id": exec_id, "event_id": exec_id, **_fill(event)}
            self._algorithm._feed.emit("order_event", tag, **detail)
            self._algorithm._save()

    def _exec_id(self, event: OrderEvent) -> str:
        return f"{self.algorithm_id}-{event.order_id}-{event.event_id}"

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


def _fill(event: OrderEvent) -> dict[str, str]:
    """What the bridge's feed says of a fill."""
    told = {"status": event.status, "fee": str(event.fee), "fee_currency": "USD"}
    return told | {"fill_quantity": str(event.quantity), "fill_price": str(event.price)}


class Engine:
    """Runs the deployments until stopped; the demo's accounts have one from the start."""

    def __init__(self, settings: Settings, demo: Demo, venue: Venue, faults: Faults) -> None:
        self._settings, self._venue, self._faults = settings, venue, faults
        self.store = ObjectStore(settings.paper_state_dir / "object_store")
        venue.before_commit = self.store.commit
        self._notifies: dict[int, Notify] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._stopping = Event()
        self.failed = Event()
        venue.advance()
        self._symbols = ",".join(instrument.symbol for instrument in demo.instruments)
        self.launches = Launches(settings.paper_state_dir)
        self.deployments: dict[int, Deployment] = {}
        for node_id, account in zip(self.node_ids, demo.accounts, strict=False):
            if not self.launches.of(account.project_id):
                cash = str(account.opening_cash)
                self.launches.add(Launch(account.project_id, node_id, opening_cash=cash))
        for launch in self.launches.alive():
            self._start(launch)
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5)
        for notify in self._notifies.values():
            notify.close()
        self.store.close()

    # What the faces ask for; the engine's own thread does it in its next time slice.

    @property
    def node_ids(self) -> list[str]:
        """The live nodes of the organization: each runs one deployment."""
        return [f"LN-{number:032x}" for number in range(1, self._settings.paper_live_nodes + 1)]

    def launch(self, launch: Launch, files: dict[str, str]) -> None:
        """Deploy these files."""
        folder = self._code(launch).parent
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            (folder / name).write_text(content)
        self.launches.add(launch)
        self._orders.append(lambda: self._start(launch))

    def end(self, launch: Launch, *, liquidate: bool = False) -> None:
        """Stop a deployment; its positions stay, unless they are liquidated first."""
        self._orders.append(lambda: self._end(launch, liquidate=liquidate))

    # The engine's thread.

    def _code(self, launch: Launch) -> Path:
        if launch.parameters is None:
            return self._settings.bridge_file
        return self._settings.paper_state_dir / "code" / launch.deploy_id / "main.py"

    def _start(self, launch: Launch) -> None:
        """Begin a deployment, or take it up again after a restart."""
        project_id = launch.project_id
        if launch.status == WAITING:
            self._venue.open_account(project_id, Decimal(launch.opening_cash))
            if self.launches.of(project_id)[0] is not launch:
                launch.first_order_id, launch.reloaded = self._venue.reload(project_id)
        notify = Notify(self._faults, project_id)
        try:
            algorithm = self._algorithm(launch, notify)
            algorithm.initialize()
        except Exception as error:
            notify.close()
            if launch.parameters is None:
                raise
            log.exception("project %s does not start", project_id)
            text = "".join(traceback.format_exception_only(error)).strip()
            self.launches.end(launch, FAILED, f"During the algorithm initialization: {text}")
            return
        self._notifies[project_id] = notify
        deployment = Deployment(project_id, algorithm, self._venue, self._faults)
        self.deployments = {**self.deployments, project_id: deployment}
        launch.status = RUNNING
        self.launches.save()

    def _algorithm(self, launch: Launch, notify: Notify) -> QCAlgorithm:
        path = self._code(launch)
        algorithm = load_algorithm(path, f"bridge_{launch.deploy_id.replace('-', '_')}")()
        parameters = launch.parameters
        algorithm._deploy(
            self._venue,
            project_id=launch.project_id,
            algorithm_id=launch.deploy_id,
            parameters=self._own(launch.project_id) if parameters is None else parameters,
            object_store=self.store,
            notify=notify,
            launch=launch,
        )
        return algorithm

    def _own(self, project_id: int) -> dict[str, str]:
        """What the demo's accounts are deployed with."""
        settings = self._settings
        return {
            "webhook_url": settings.webhook_url,
            "webhook_secret": settings.webhook_hmac.get_secret_value().strip(),
            "source": f"qc:{project_id}",
            "epoch": "1",
            "symbols": self._symbols,
            "interval_s": str(settings.bridge_interval_seconds),
            "pulse_s": str(settings.paper_step_seconds),
            "history": "tagged",
            "dedupe": settings.bridge_dedupe,
        }

    def _end(self, launch: Launch, *, liquidate: bool) -> None:
        if launch.status not in ALIVE:
            return
        if liquidate:
            self._venue.liquidate(launch.project_id)
        kept = {key: it for key, it in self.deployments.items() if key != launch.project_id}
        self.deployments = kept
        self._notifies.pop(launch.project_id).retire()
        self.launches.end(launch, LIQUIDATED if liquidate else STOPPED)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._settings.paper_step_seconds):
                while self._orders:
                    self._orders.popleft()()
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
        self.store.commit()
        for notify in self._notifies.values():
            notify.release()
        for launch in self.launches.alive():
            deployment_of = self.deployments.get(launch.project_id)
            if deployment_of is not None and deployment_of.has_quit:
                self._end(launch, liquidate=False)
