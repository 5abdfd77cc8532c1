"""Signed-in traders who read, place and cancel through the public door, as locust runs them.

`make test-load` starts it and looks at the books afterwards. By hand, with locust's own page:

    .venv/bin/locust --locustfile tests/load/locustfile.py --host http://localhost:8080

The clock starts when every trader is signed in, and stops after --measure seconds.
"""

import json
import random
import uuid
from argparse import ArgumentParser
from collections import Counter, defaultdict, deque
from collections.abc import Container
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]
from gevent.lock import BoundedSemaphore  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.exception import StopUser

RUN_DIR = Path(__file__).resolve().parents[2] / ".run"
SIGN_IN = "sign in"
SIGN_IN_TIMEOUT_S = 60
SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
# Beyond the limit of the demo's accounts, so that it is denied and never sent.
TOO_MANY = "99999999"
RESTING_MAX = 3
PROBLEMS_MAX = 50


@dataclass
class Ledger:
    """What all traders were told, kept for the check of the books."""

    confirmed: dict[str, dict[str, str]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    took_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)
    signed_in: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    all_signed_in: Event = field(default_factory=Event)

    def complain(self, text: str) -> None:
        """Keep what should not have happened."""
        self.counted["failed"] += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)

    def write(self, path: Path) -> None:
        """Write all of it down for the process that checks it."""
        ended_at = self.ended_at or monotonic()
        document = {
            "seconds": ended_at - (self.started_at or ended_at),
            "confirmed": self.confirmed,
            "counted": self.counted,
            "took_ms": self.took_ms,
            "problems": self.problems,
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))


ledger = Ledger()
numbers = count()
# An attempt counts against the limit of its address until it is found right.
signing_in = BoundedSemaphore(4)


def add_options(parser: ArgumentParser) -> None:
    """Say where the traders come from and where the ledger goes."""
    parser.add_argument("--demo", type=Path, default=RUN_DIR / "demo.json")
    parser.add_argument("--ledger", type=Path, default=RUN_DIR / "load-ledger.json")
    parser.add_argument("--measure", type=float, default=30, help="seconds")


def note_request(name: str, response_time: float, exception: Exception | None, **_: object) -> None:
    """Time what is asked between the two ends of the measurement."""
    if exception is not None:
        ledger.complain(f"{name}: {exception}")
    if ledger.started_at is not None and ledger.ended_at is None and name != SIGN_IN:
        ledger.took_ms[name].append(response_time)


def write_ledger(environment: Environment, **_: object) -> None:
    """Hand the ledger over at the end."""
    if environment.parsed_options is not None:
        ledger.write(environment.parsed_options.ledger)


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.request.add_listener(note_request)  # type: ignore[no-untyped-call]
events.quitting.add_listener(write_ledger)  # type: ignore[no-untyped-call]


def start_the_clock(environment: Environment) -> None:
    """Let all traders go, and end it after the measured time."""
    assert environment.parsed_options is not None
    ledger.started_at = monotonic()
    ledger.all_signed_in.set()
    gevent.spawn_later(environment.parsed_options.measure, stop_the_clock, environment)


def stop_the_clock(environment: Environment) -> None:
    """End the measurement; calls that are on their way are still answered."""
    ledger.ended_at = monotonic()
    if environment.runner is not None:
        gevent.spawn(environment.runner.quit)


class Trader(FastHttpUser):
    """One trader of the demo, with accounts of his own as long as there are enough traders."""

    connection_timeout = 10
    network_timeout = 30

    def on_start(self) -> None:
        """Sign in as the browser does, then wait for the others."""
        options = self.environment.parsed_options
        assert options is not None
        number = next(numbers)
        users = json.loads(options.demo.read_text())["users"]
        traders = [user for user in users if user["role"] == "trader"]
        self.user = traders[number % len(traders)]
        self.random = random.Random(number)
        self.origin = str(self.host).rstrip("/")
        self.mine: list[str] = []
        self.resting: deque[str] = deque()
        self.marks: dict[str, Decimal] = {}
        with signing_in:
            if not self.sign_in():
                stop_the_clock(self.environment)
                raise StopUser
        ledger.signed_in += 1
        if ledger.signed_in == options.num_users:
            start_the_clock(self.environment)
        if not ledger.all_signed_in.wait(SIGN_IN_TIMEOUT_S):
            ledger.complain("not every trader could sign in")
            stop_the_clock(self.environment)
            raise StopUser

    def sign_in(self) -> bool:
        """Take the session's cookies."""
        fields = [{"id": name, "value": self.user[name]} for name in ("email", "password")]
        answer = self.call(SIGN_IN, "POST", "/auth/signin", body={"formFields": fields})
        if answer is None:
            return False
        if answer.json()["status"] != "OK":
            ledger.complain(f"{SIGN_IN}: {answer.text}")
            return False
        return True

    @task(40)
    def read_order(self) -> None:
        """Look at one of one's own orders."""
        if not self.mine:
            self.read_session()
            return
        key = self.random.choice(self.mine)
        answer = self.call("read order", "GET", f"/api/orders/{key}")
        if answer is not None and answer.json()["order_id"] != ledger.confirmed[key]["order_id"]:
            ledger.complain(f"order {key} became another one: {answer.text}")

    @task(15)
    def read_session(self) -> None:
        """Ask who one is."""
        answer = self.call("read session", "GET", "/api/session")
        if answer is not None and answer.json()["email"] != self.user["email"]:
            ledger.complain(f"{self.user['email']} was taken for another: {answer.text}")

    @task(15)
    def preview(self) -> None:
        """Ask what an order would do; its answer tells the price, too."""
        order = self.market_order()
        answer = self.call("preview", "POST", "/api/orders/preview", body=order)
        if answer is not None and (mark := answer.json()["mark_price"]) is not None:
            self.marks[order["symbol"]] = Decimal(mark)

    @task(25)
    def place(self) -> None:
        """Place an order, now and then twice, now and then one that is too large."""
        order = self.market_order()
        rests = len(self.resting) < RESTING_MAX and order["symbol"] in self.marks
        if rests:
            order |= self.far_limit(order["symbol"])
        elif self.random.random() < 0.05:
            order["quantity"] = TOO_MANY
        key = f"load-{uuid.uuid4().hex[:24]}"
        placed = self.send_order(key, order, 201)
        if placed is None:
            return
        self.mine.append(key)
        if rests and placed["status"] != "denied":
            self.resting.append(placed["order_id"])
        if self.random.random() < 0.1:
            self.repeat(key, order, placed["order_id"])

    @task(5)
    def cancel(self) -> None:
        """Cancel the oldest order that may still rest."""
        if not self.resting:
            self.place()
            return
        order_id = self.resting.popleft()
        path = f"/api/orders/{order_id}/cancel"
        answer = self.call("cancel", "POST", path, expected=(202, 409))
        if answer is None:
            return
        if answer.status_code == 202:
            ledger.counted["canceled"] += 1
        elif answer.json()["code"] == "order_not_cancelable":
            # The market was quicker.
            ledger.counted["too_late"] += 1
        else:
            ledger.complain(f"cancel: {answer.text}")

    def market_order(self) -> dict[str, str]:
        """Make an order that fills at once and stays below every limit."""
        return {
            "account_id": self.random.choice(self.user["accounts"]),
            "symbol": self.random.choice(SYMBOLS),
            "side": self.random.choice(["buy", "sell"]),
            "order_type": "market",
            "quantity": str(self.random.randint(1, 10)),
            "time_in_force": "day",
        }

    def far_limit(self, symbol: str) -> dict[str, str]:
        """Turn an order into one that rests: well below the market, inside the collar."""
        price = (self.marks[symbol] * Decimal("0.95")).quantize(Decimal("0.01"))
        limit = {"order_type": "limit", "limit_price": str(price), "time_in_force": "gtc"}
        return {**limit, "side": "buy"}

    def send_order(self, key: str, order: dict[str, str], expected: int) -> dict[str, Any] | None:
        """Send an order under its key and keep what is confirmed."""
        answer = self.call(
            "place" if expected == 201 else "place again",
            "POST",
            "/api/orders",
            expected=(expected,),
            body=order,
            headers={"Idempotency-Key": key},
        )
        if answer is None:
            return None
        placed: dict[str, Any] = answer.json()
        if expected == 201:
            denied = placed["status"] == "denied"
            ledger.counted["denied" if denied else "placed"] += 1
            facts = {name: placed[name] for name in ("order_id", "status", "reason_code")}
            ledger.confirmed[key] = {**facts, "email": self.user["email"]}
        return placed

    def repeat(self, key: str, order: dict[str, str], order_id: str) -> None:
        """Send the same again, as a program does that missed the answer."""
        again = self.send_order(key, order, 200)
        if again is None:
            return
        ledger.counted["replayed"] += 1
        if again["order_id"] != order_id or again["replayed"] is not True:
            ledger.complain(f"the replay of {key} is another order: {again}")

    def call(
        self,
        name: str,
        method: str,
        path: str,
        *,
        expected: Container[int] = (200,),
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> ResponseContextManager | None:
        """Ask, and return the answer when its status is one of those expected."""
        ours = {"rid": "load", "Origin": self.origin, **(headers or {})}
        answer: ResponseContextManager = self.client.request(
            method, path, name=name, json=body, headers=ours, catch_response=True
        )
        with answer:
            if answer.status_code in expected:
                answer.success()  # type: ignore[no-untyped-call]
                return answer
            what = f"{answer.status_code} {str(answer.text)[:300]}"
            answer.failure(what)  # type: ignore[no-untyped-call]
        return None
