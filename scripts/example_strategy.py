#!/usr/bin/env python3
"""A moving-average strategy as a program of the desk runs it: through the public API, with a token.

It is long while the mean of its last FAST bars is above the mean of its last SLOW bars, else flat.
A bar is the first quote seen in its time. What it knows lies in the hot store and moves from one
state to the next by compare-and-set alone, so of two copies one decides a bar and the other sees
that it lost. An order is written into the state before it is sent, and its id follows from
strategy, bar and side: whoever finds it there sends it, again if need be, and the platform places
it once.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

FINAL = {"filled", "canceled", "rejected", "denied", "expired"}
NAME = re.compile(r"[A-Za-z0-9_]{1,10}")
TRY_LATER = {408, 429, 503}


@dataclass(frozen=True)
class Plan:
    """What to trade and by which rule."""

    name: str
    account_id: str
    symbol: str
    quantity: str
    fast: int
    slow: int
    bar_seconds: int

    @property
    def key(self) -> str:
        """Where the state is: one for each strategy, account and symbol."""
        return f"{self.name}/{self.account_id}/{self.symbol}"

    def client_order_id(self, bar: int, side: str) -> str:
        """The same for every copy and after every restart; at most 36 characters."""
        digest = hashlib.sha256(f"{self.key}/{bar}/{side}".encode()).hexdigest()
        return f"{self.name}-{bar}-{side}-{digest[:8]}"


@dataclass(frozen=True)
class State:
    """The last bar, the prices of the last SLOW bars, what is held, and the order under way."""

    bar: int = 0
    prices: list[str] = field(default_factory=list)
    held: str = "0"
    order: dict[str, str] | None = None


def advanced(plan: Plan, state: State, bar: int, price: str) -> State:
    """Take a bar into the state, with the order that it calls for."""
    prices = [*state.prices, price][-plan.slow :]
    after = replace(state, bar=bar, prices=prices)
    if len(prices) < plan.slow:
        return after
    fast, slow = mean(prices[-plan.fast :]), mean(prices)
    if fast > slow and Decimal(state.held) == 0:
        side, quantity = "buy", plan.quantity
    elif fast < slow and Decimal(state.held) > 0:
        side, quantity = "sell", state.held
    else:
        return after
    order = {"id": plan.client_order_id(bar, side), "side": side, "quantity": quantity}
    return replace(after, order=order)


def mean(prices: list[str]) -> Decimal:
    """Return the mean, exact to 28 digits."""
    return sum(map(Decimal, prices), Decimal(0)) / len(prices)


def settled(state: State, answer: dict[str, Any]) -> State:
    """Take what became of the order into the state."""
    assert state.order is not None  # noqa: S101 - only called for one
    done = Decimal(answer["cum_quantity"])
    held = Decimal(state.held) + (done if state.order["side"] == "buy" else -done)
    return replace(state, held=str(held), order=None)


class Strategy:
    """One copy of the strategy."""

    def __init__(self, client: httpx.Client, plan: Plan) -> None:
        self.client = client
        self.plan = plan

    def step(self) -> None:
        """Finish the order under way, else look at the market; repeat it as often as you like."""
        state, tag = self.read()
        if state.order is None:
            price, bar = self.quote()
            if bar <= state.bar:
                return
            state = advanced(self.plan, state, bar, price)
            moved = self.write(state, tag)
            if moved is None or state.order is None:
                return
            tag = moved
            say("signal", bar=bar, **state.order)
        answer = self.place(state.order or {})
        if answer["status"] in FINAL:
            after = settled(state, answer)
            if self.write(after, tag) is not None:
                say("settled", status=answer["status"], held=after.held, **(state.order or {}))

    def read(self) -> tuple[State, str | None]:
        """Return the state and its version; None is "never written"."""
        answer = self.client.get(f"/api/lmdb/strategy/{self.plan.key}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return State(), None
        return State(**checked(answer).json()), answer.headers["ETag"]

    def write(self, state: State, tag: str | None) -> str | None:
        """Replace the state of that version; returns the next one, None when another copy won."""
        answer = self.client.put(
            f"/api/lmdb/strategy/{self.plan.key}",
            content=json.dumps(asdict(state)),
            headers={"If-None-Match": "*"} if tag is None else {"If-Match": tag},
        )
        if answer.status_code == httpx.codes.PRECONDITION_FAILED:
            return None
        return str(checked(answer).headers["ETag"])

    def quote(self) -> tuple[str, int]:
        """Return the last price and the number of the bar it is in."""
        quote = checked(self.client.get(f"/api/lmdb/quotes/{self.plan.symbol}")).json()
        seconds = datetime.fromisoformat(quote["at"]).timestamp()
        return quote["price"], int(seconds) // self.plan.bar_seconds

    def place(self, order: dict[str, str]) -> dict[str, Any]:
        """Place the order; when it is placed already, this only tells how it is."""
        body = {
            "account_id": self.plan.account_id,
            "symbol": self.plan.symbol,
            "side": order["side"],
            "order_type": "market",
            "quantity": order["quantity"],
            "time_in_force": "day",
        }
        headers = {"Idempotency-Key": order["id"]}
        answer: dict[str, Any] = checked(
            self.client.post("/api/orders", json=body, headers=headers)
        ).json()
        return answer


def checked(answer: httpx.Response) -> httpx.Response:
    """Return a good answer; raise any other one."""
    answer.raise_for_status()
    return answer


def say(event: str, **facts: object) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def run(strategy: Strategy, *, once: bool, pause_s: float) -> int:
    """Step until told to stop; what may pass by itself is tried again."""
    while True:
        try:
            strategy.step()
        except httpx.HTTPStatusError as error:
            say("refused", status=error.response.status_code, answer=error.response.text)
            if once or error.response.status_code not in TRY_LATER:
                return 1
        except httpx.TransportError as error:
            say("unreachable", error=repr(error))
            if once:
                return 1
        if once:
            return 0
        time.sleep(pause_s)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="The token needs orders:write for the account, hot:read, hot:write; it comes from"
        " --token-file or INFORMANIA_TOKEN, never from the command line.",
    )
    parser.add_argument("--url", default=os.environ.get("PUBLIC_URL", "http://localhost:8080"))
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--account", required=True, help="account_id")
    parser.add_argument("--symbol", default="AAPL")
    parser.add_argument("--quantity", default="1", help="of each buy; a sell sells what is held")
    parser.add_argument("--fast", type=int, default=5, help="bars of the fast mean (5)")
    parser.add_argument("--slow", type=int, default=20, help="bars of the slow mean (20)")
    parser.add_argument("--bar-seconds", type=int, default=60, help="length of a bar (60)")
    parser.add_argument("--name", default="ma_cross", help="1 to 10 of A-Z a-z 0-9 _")
    parser.add_argument("--once", action="store_true", help="one step, then end")
    said = parser.parse_args()
    if not NAME.fullmatch(said.name):
        parser.error("--name takes 1 to 10 of A-Z a-z 0-9 _")
    if not 1 <= said.fast < said.slow or said.bar_seconds < 1:
        parser.error("1 <= --fast < --slow, and a bar takes at least a second")
    return said


def main() -> int:
    """Run one copy; returns 0, or 1 when it was refused."""
    said = parsed()
    token = said.token_file.read_text() if said.token_file else os.environ.get("INFORMANIA_TOKEN")
    if not token:
        sys.stderr.write("no token: name --token-file or set INFORMANIA_TOKEN\n")
        return 2
    plan = Plan(
        name=said.name,
        account_id=said.account,
        symbol=said.symbol,
        quantity=said.quantity,
        fast=said.fast,
        slow=said.slow,
        bar_seconds=said.bar_seconds,
    )
    headers = {"Authorization": f"Bearer {token.strip()}"}
    with httpx.Client(base_url=said.url, headers=headers, timeout=10, trust_env=False) as client:
        return run(Strategy(client, plan), once=said.once, pause_s=min(1.0, said.bar_seconds / 4))


if __name__ == "__main__":
    sys.exit(main())
