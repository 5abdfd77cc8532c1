"""LEAN in the test's own process: one venue, and the bridge deployed on it again and again."""

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paper_world import HMAC_KEY, PROJECT, make_command, order_fields
from pydantic import SecretStr

from paper.algorithm_imports import load_algorithm
from paper.engine import Deployment
from paper.faults import Faults
from paper.launches import Launch
from paper.lean_tickets import OrderTicket, Transactions
from paper.object_store import ObjectStore
from paper.settings import Settings, read_demo
from paper.venue import Venue

NUMBERS = count()


class Post:
    """Stands where LEAN's notification manager stands, and keeps what it is given."""

    def __init__(self) -> None:
        self.is_open = True
        self.bodies: list[dict[str, Any]] = []

    def web(self, address: str, data: str, headers: dict[str, str]) -> bool:
        if self.is_open:
            self.bodies.append(json.loads(data))
        return self.is_open

    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies for event in body["events"]]


class RefusingStore(ObjectStore):
    """An object store whose quota can be used up."""

    is_full = False

    def save(self, path: str, text: str) -> bool:
        return not self.is_full and super().save(path, text)


class TaglessTransactions(Transactions):
    """What LEAN shows after a redeploy on Interactive Brokers: open orders, and no tag."""

    def get_order_tickets(self, filter: Any = None) -> list[OrderTicket]:  # noqa: A002
        tickets = [t for t in super().get_order_tickets() if t.order_id in self._venue.book.open]
        for ticket in tickets:
            ticket.tag = ""
        return [ticket for ticket in tickets if filter is None or filter(ticket)]

    def get_order_by_id(self, order_id: int) -> SimpleNamespace | None:
        order = super().get_order_by_id(order_id)
        if order is not None:
            order.tag = ""
        return order


class Lean:
    """One venue, and the bridge deployed on it as often as a test wants."""

    def __init__(self, state_dir: Path) -> None:
        self.settings = Settings(
            paper_state_dir=state_dir,
            webhook_hmac=SecretStr(HMAC_KEY),
            qc_token=SecretStr("token"),
            webhook_url="http://127.0.0.1:1/",
        )
        self.faults = Faults()
        self.venue = Venue(self.settings, read_demo(self.settings.demo_config), self.faults)
        self.venue.advance()
        self.venue.hold("AAPL", Decimal(90))
        self.store = RefusingStore(state_dir / "object_store")
        self.post = Post()

    def deploy(self, transactions: type[Transactions] = Transactions, **changes: str) -> None:
        parameters = {
            "webhook_url": "http://127.0.0.1:1/",
            "webhook_secret": HMAC_KEY,
            "source": f"qc:{PROJECT}",
            "epoch": "1",
            "symbols": "AAPL,MSFT",
            "interval_s": "0",
            "pulse_s": "0.000001",
            **changes,
        }
        algorithm_type = load_algorithm(self.settings.bridge_file, f"lean_{next(NUMBERS)}")
        self.algorithm: Any = algorithm_type()
        self.algorithm._deploy(
            self.venue,
            project_id=PROJECT,
            algorithm_id=f"L-{next(NUMBERS)}",
            parameters=parameters,
            object_store=self.store,
            notify=self.post,
        )
        self.algorithm.transactions = transactions(self.venue, Launch(PROJECT, ""))
        self.algorithm.initialize()
        self.deployment = Deployment(PROJECT, self.algorithm, self.venue, self.faults)

    def send(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Run one command through a time slice; the events that were new in it."""
        before = len(self.post.events())
        self.deployment.enqueue(json.dumps(make_command(kind, **fields)))
        self.deployment.step(ticked=False)
        return self.post.events()[before:]

    def place(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        return self.send("PlaceOrder", **order_fields(name, **fields))


@pytest.fixture
def lean(tmp_path: Path) -> Iterator[Lean]:
    lean = Lean(tmp_path)
    yield lean
    lean.venue.close()
