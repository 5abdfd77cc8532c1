"""The traders of a run: they repeat what was not answered, and cancel some of what they placed."""

import asyncio
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from platform_client import Trader

REPEATED_FOR_NO_REASON = 0.1
# Of the orders: far limits, which never fill and are canceled, and cancels of what may fill.
FAR, HASTY = 0.15, 0.1
TOLD = (httpx.codes.OK, httpx.codes.CREATED, httpx.codes.ACCEPTED)


@dataclass
class Book:
    """What the traders were told."""

    tries: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)


async def place_all(traders: list[Trader], seed: int, orders: int, book: Book) -> None:
    """Place the run's orders by all traders at once, and keep what was acknowledged."""

    async def client(trader: Trader, number: int) -> None:
        choices = random.Random(f"{seed}:{number}")
        for n in range(number, orders, len(traders)):
            key = f"c{seed}-{n}-{uuid.uuid4().hex[:12]}"
            await trade(trader, key, choices, book)

    await asyncio.gather(*(client(trader, n) for n, trader in enumerate(traders)))


async def trade(trader: Trader, key: str, choices: random.Random, book: Book) -> None:
    kind = choices.random()
    order: dict[str, Any] = {
        "account_id": choices.choice(trader.user["accounts"]),
        "symbol": choices.choice(["AAPL", "MSFT", "IBM", "GOOG"]),
        "side": choices.choice(["buy", "sell"]),
        "quantity": str(choices.randint(1, 20)),
    }
    if kind < FAR:
        # No price of these shares was ever above 900 or, in this market, below 10.
        order |= {"order_type": "limit", "time_in_force": "gtc", "side": "buy"}
        order |= {"limit_price": await near(trader, order["symbol"])}
    order_id = await until_told(lambda: trader.place(key, **order), choices, book)
    book.acknowledged[key] = order_id
    if kind < FAR + HASTY:
        await until_told(lambda: trader.cancel(order_id), choices, book)


async def near(trader: Trader, symbol: str) -> str:
    """A buyer's limit inside the collar and below the market."""
    while True:
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                quotes = (await client.get(f"{trader.platform.venue_url}/quotes")).json()
            price = next(float(quote["price"]) for quote in quotes if quote["symbol"] == symbol)
            return f"{price * 0.96:.2f}"
        except (httpx.HTTPError, ValueError):
            await asyncio.sleep(0.1)


async def until_told(call: Any, choices: random.Random, book: Book) -> str:
    """Repeat the same request until it is answered, and sometimes once more for no reason."""
    while True:
        book.tries += 1
        try:
            answer = await call()
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code in TOLD:
            if choices.random() > REPEATED_FOR_NO_REASON:
                return str(answer.json()["order_id"])
        elif answer is not None and answer.status_code == httpx.codes.CONFLICT:
            return ""  # a cancel that came too late
        elif answer is not None and answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise AssertionError(f"{answer.status_code} for a good request: {answer.text}")
        await asyncio.sleep(choices.uniform(0.05, 0.5))
