"""The pages over a real database: what procedures recorded is what a user reads, and only his.

Only the API's part, signing the token, is done here by hand; reading, rights and views are real.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price
from pages_world import PAGES, SCREEN, sign_in, texts
from read_tokens import sign
from services import api_client
from streamlit.testing.v1 import AppTest

LIMITS = (Decimal(1000), Decimal(50_000), Decimal("0.10"))
PLACE = """
    SELECT order_id FROM app.sp_place_order(
        $1, 'session', 'request', $2, $3, 'AAPL', 'buy', 'limit', $4, 100, NULL, 'day', NULL, NULL
    )
"""


@dataclass
class Desk:
    """Two traders with an account each, and an order that one of them placed."""

    trader: UUID
    other: UUID
    account: str
    order_id: int
    denied_id: int


@pytest.fixture
async def desk(database: Database, secrets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk in a fresh database, and the screen's services pointed at it."""
    settings = {
        "APP_ENV": "test",
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port_for("app_read")),
        "DATABASE_NAME": database.name,
        "SECRETS_DIR": str(secrets_dir),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    key = (secrets_dir / "db_token_key").read_text().strip()
    later = datetime.now(UTC) + timedelta(minutes=5)
    monkeypatch.setattr(api_client, "db_token", lambda user: (sign(key, user.user_id), later))
    return await _make(await database.connect("app_migrate"), await database.connect("app_write"))


async def _make(migrate: asyncpg.Connection, api: asyncpg.Connection) -> Desk:
    trader, other = await make_user(migrate), await make_user(migrate)
    account = await make_account(migrate, {trader: True}, limits=LIMITS, broker_account="1001")
    await make_account(migrate, {other: True}, limits=LIMITS)
    await make_instrument(migrate)
    await set_price(api, "AAPL", "100.00")
    order_id = await api.fetchval(PLACE, trader, "ui-first", account, Decimal(10))
    denied_id = await api.fetchval(PLACE, trader, "ui-second", account, Decimal(5000))
    return Desk(trader, other, "Account 1001", order_id, denied_id)


def open_as(user_id: UUID, page: str) -> AppTest:
    """Open a page as a trader."""
    app = AppTest.from_file(str(SCREEN / "pages" / f"{page}.py"), default_timeout=30)
    sign_in(app, "trader", user_id)
    return app.run()


@pytest.mark.parametrize("page", PAGES)
async def test_each_page_reads_its_views(page: str, desk: Desk) -> None:
    app = open_as(desk.trader, page)
    assert not app.exception
    assert not app.error
    assert desk.account in app.multiselect(key="account").options


async def test_an_order_and_its_way_are_on_the_trades_page(desk: Desk) -> None:
    app = open_as(desk.trader, "03_Trades")
    working = app.dataframe[0].value
    assert list(working["Order"]) == [str(desk.order_id)]
    assert list(working["Status"]) == ["sending"]
    app.radio(key="view").set_value("All orders").run()
    shown = app.dataframe[0].value
    assert list(shown["Order"]) == [str(desk.denied_id), str(desk.order_id)]
    assert "ORDER_QUANTITY_EXCEEDS_MAX" in shown["Why"][0]
    assert len(app.dataframe[1].value) >= 1, "no timeline"


async def test_the_cards_show_the_cash_of_the_account(desk: Desk) -> None:
    app = open_as(desk.trader, "01_Dashboard")
    assert {card.label: card.value for card in app.metric}["Cash (USD)"] == "100,000.00"


@pytest.mark.parametrize("page", PAGES)
async def test_another_trader_sees_nothing_of_it(page: str, desk: Desk) -> None:
    open_as(desk.trader, page)
    app = open_as(desk.other, page)
    assert not app.exception
    assert desk.account not in app.multiselect(key="account").options
    orders = [table.value for table in app.dataframe if "Order" in table.value.columns]
    assert orders == []
    assert "ui-first" not in texts(app)
