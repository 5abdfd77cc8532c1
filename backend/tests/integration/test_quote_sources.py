"""The quotes port: each source into the marks, and what none of them can bring there."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fixtures_postgres import Database as FreshDatabase
from fixtures_postgres import make_instrument
from ibkr_world import CLIENT_ID, QUICK, IbDesk
from paper_world import PaperProcess, paper, receiver, until
from tws_face import TwsFace
from worker_world import eventually

from app.models.dto import Quote, moment_text
from app.services.db import Database, create_engine
from app.services.ibkr_adapter import InteractiveBrokersBroker
from app.services.quotes import BridgeQuotes, QuoteSource, ReplayQuotes, Source
from worker.__main__ import quote_sources
from worker.bridges import Bridges
from worker.ib_route import inbox_of
from worker.metrics import Metrics
from worker.service import Service

__all__ = ["paper", "receiver"]

MARK = (
    "SELECT p.price::text AS price, p.source, p.source_at, p.received_at"
    " FROM market.last_prices AS p JOIN app.instruments AS i USING (instrument_id)"
    " WHERE i.symbol = $1"
)


@pytest.fixture
async def desk(database: FreshDatabase) -> IbDesk:
    """A desk at Interactive Brokers that trades AAPL."""
    desk = IbDesk(database)
    await desk.open()
    owner = await database.connect("postgres")
    await owner.execute("DELETE FROM market.last_prices")
    return desk


@asynccontextmanager
async def listening(desk: IbDesk, *sources: QuoteSource, **brokers: Any) -> AsyncIterator[None]:
    """Run a worker that hears these sources."""
    settings = desk.settings()
    database = Database(create_engine(settings, "app_worker"))
    stopping = asyncio.Event()
    service = Service(
        settings,
        database=database,
        brokers=brokers,
        bridges=Bridges(),
        metrics=Metrics(),
        quotes=[*sources, *quote_sources(settings, brokers)],
    )
    task = asyncio.create_task(service.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 20)
        for part in (*sources, database):
            await part.close()


async def mark(desk: IbDesk, symbol: str = "AAPL") -> asyncpg.Record | None:
    rows = await desk.fetch(MARK, symbol)
    return rows[0] if rows else None


async def shows(desk: IbDesk, price: str, source: Source) -> bool:
    found = await mark(desk)
    return found is not None and (found["price"], found["source"]) == (price, source)


# --- ib -------------------------------------------------------------------------------------------


async def test_prices_of_a_tws_become_the_marks_of_the_route_ib(desk: IbDesk) -> None:
    face = TwsFace()
    async with face.listening():
        database = Database(create_engine(desk.settings(), "app_worker"))
        adapter = InteractiveBrokersBroker(
            host="127.0.0.1",
            port=face.port,
            client_id=CLIENT_ID,
            store=inbox_of(database, "test"),
            patience=QUICK,
        )
        adapter.start()
        try:
            async with listening(desk, ib=adapter):
                await eventually(lambda: "AAPL" in face.watched)
                face.price("AAPL", 4, "20.5")
                await eventually(lambda: shows(desk, "20.5", Source.IB))
                face.price("AAPL", 4, "nan")
                face.price("AAPL", 4, "-3")
                face.price("AAPL", 4, "20.75")
                await eventually(lambda: shows(desk, "20.75", Source.IB))
        finally:
            await adapter.close()
            await database.close()


async def test_only_what_the_accounts_of_a_route_may_trade_is_watched(desk: IbDesk) -> None:
    owner = await desk.database.connect("app_migrate")
    await make_instrument(owner, "ZZZ")
    await make_instrument(owner, "MSFT")
    await owner.execute(
        "SELECT app.sp_instrument_upsert('system:seed', 'SAP', 'SAP', 'EUR', 0.01, 1, TRUE)"
    )
    root = await desk.database.connect("postgres")
    await root.execute("UPDATE app.instruments SET tradable = FALSE WHERE symbol = 'MSFT'")
    worker = await desk.database.connect("app_worker")

    async def wanted(route: str, limit: int = 10) -> list[str]:
        rows = await worker.fetch("SELECT app.sp_quotes_wanted($1, $2) AS s", route, limit)
        return [row["s"] for row in rows]

    assert await wanted("ib") == ["AAPL", "ZZZ"]
    assert await wanted("ib", 1) == ["AAPL"]
    assert await wanted("quantconnect") == []
    assert await wanted("ib", -1) == []
    # What is held comes first, and also when nobody may buy more of it.
    await root.execute(
        "INSERT INTO app.positions (account_id, instrument_id, quantity, cost)"
        " SELECT $1, instrument_id, 3, 60 FROM app.instruments WHERE symbol IN ('MSFT', 'ZZZ')",
        desk.account_id,
    )
    assert await wanted("ib") == ["MSFT", "ZZZ", "AAPL"]


# --- replay ---------------------------------------------------------------------------------------


async def test_a_replayed_market_becomes_the_marks(desk: IbDesk, paper: PaperProcess) -> None:
    await asyncio.to_thread(until, lambda: paper.control.get("/paper/v1/quotes").json(), "a tick")
    paper.hold("AAPL", "33.25")
    async with listening(desk, ReplayQuotes(str(paper.control.base_url))):
        await eventually(lambda: shows(desk, "33.25", Source.REPLAY))
        paper.kill()
        paper.start()
        await asyncio.to_thread(paper.hold, "AAPL", "33.5")
        await eventually(lambda: shows(desk, "33.5", Source.REPLAY))


@pytest.mark.parametrize("body", ["[]", "{}", "null", "17", '[null, 3, "x"]', '[{"price": "1"}]'])
async def test_a_venue_that_shows_nonsense_shows_nothing(body: str) -> None:
    source = replay_of(httpx.Response(200, text=body))
    assert await source.take() == []


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(302)]
)
async def test_a_venue_that_does_not_answer_is_said_to_be_silent(answer: httpx.Response) -> None:
    with pytest.raises(httpx.HTTPError):
        await replay_of(answer).take()


def replay_of(answer: httpx.Response) -> ReplayQuotes:
    """Read a face that always answers so."""

    def handle(request: httpx.Request) -> httpx.Response:
        answer.request = request
        return answer

    return ReplayQuotes("http://127.0.0.1", httpx.MockTransport(handle))


# --- all ------------------------------------------------------------------------------------------

NOW = "2026-01-05T15:00:00Z"
GOOD = {"symbol": "AAPL", "price": "20.5", "at": NOW}
HOSTILE: list[dict[str, Any]] = [
    *({**GOOD, "price": price} for price in (
        "NaN", "Infinity", "-1", "0", "0.000", "1e3", "", "01", "1.123456789", "1" * 13, 20.5, None,
        True, ["1"], "\u0661",
    )),
    *({**GOOD, "at": at} for at in (
        "now", "", None, 5, "2026-13-01T00:00:00Z", "2026-01-05", "2026-01-05T15:00:00",
    )),
    *({**GOOD, "symbol": symbol} for symbol in ("", "aapl\n", None, 7, "A" * 100)),
    {**GOOD, "reset": "yes"}, {},
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=json.dumps)
@pytest.mark.parametrize("kind", [Source.QUANTCONNECT, Source.REPLAY])
async def test_an_odd_quote_is_left_out_and_holds_nothing_up(
    kind: Source, hostile: dict[str, Any]
) -> None:
    sent = [hostile, GOOD, hostile]
    source: QuoteSource = BridgeQuotes(sent)
    if kind is Source.REPLAY:
        source = replay_of(httpx.Response(200, json=sent))
    assert [quote.price for quote in await source.take()] == ["20.5"]


async def test_a_bridge_says_no_more_than_was_agreed_and_a_venue_may_show_more() -> None:
    sent = [{**GOOD, "more": 1}]
    assert await BridgeQuotes(sent).take() == []
    assert len(await replay_of(httpx.Response(200, json=sent)).take()) == 1


class Told:
    """A source that hands over what it is told."""

    name = Source.REPLAY

    def __init__(self) -> None:
        self.next: list[Quote] = []

    def want(self, symbols: Sequence[str]) -> None: ...

    async def take(self) -> list[Quote]:
        taken, self.next = self.next, []
        return taken

    async def close(self) -> None: ...

    def tell(self, price: str, at: datetime, symbol: str = "AAPL") -> None:
        self.next.append(Quote(symbol=symbol, price=price, at=moment_text(at)))


async def test_old_future_unknown_and_doubled_quotes_of_a_source(desk: IbDesk) -> None:
    source, now = Told(), datetime.now(UTC)
    async with listening(desk, source):
        source.tell("7", now, "NOBODY")
        source.tell("20", now)
        await eventually(lambda: shows(desk, "20", Source.REPLAY))
        first = await mark(desk)
        # The same again, and an older one: no price becomes fresh by it.
        source.tell("20", now)
        source.tell("19", now - timedelta(minutes=5))
        source.tell("18", datetime(1700, 1, 1, tzinfo=UTC))
        await eventually(lambda: not source.next)
        # One of tomorrow counts as now, and what follows is heard.
        source.tell("21", now + timedelta(days=1))
        await eventually(lambda: shows(desk, "21", Source.REPLAY))
        later = await mark(desk)
        source.tell("22", datetime.now(UTC) + timedelta(seconds=2))
        await eventually(lambda: shows(desk, "22", Source.REPLAY))
    assert first is not None
    assert later is not None
    assert later["received_at"] > first["received_at"]
    assert later["source_at"] < now + timedelta(hours=1)
    assert await mark(desk, "NOBODY") is None


async def test_what_is_recorded_with_a_second_source_keeps_its_own_staleness(desk: IbDesk) -> None:
    api = await desk.database.connect("app_write")
    for source, seconds in (("replay", 30), ("ib", 30), ("quantconnect", 120)):
        at = datetime.now(UTC).isoformat()
        quotes = json.dumps([{"symbol": "AAPL", "price": "20", "at": at}])
        assert await api.fetchval("SELECT app.sp_record_quotes($1, $2)", source, quotes) == 1
        root = await desk.database.connect("postgres")
        limit = await root.fetchval(
            "SELECT app.sp_quote_stale_after(source) FROM market.last_prices"
        )
        assert limit == timedelta(seconds=seconds)
