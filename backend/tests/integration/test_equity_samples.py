"""What accounts were worth: sampled as they are, drawn in few points, told by the day."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price
from read_tokens import read, sign

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Past:
    """An account's samples and what was paid in or out, oldest first."""

    opened_at: datetime
    samples: list[tuple[datetime, Decimal]]
    paid: list[tuple[datetime, int]]


class Desk:
    """Accounts of one member, with samples written as of any moment."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open(self) -> None:
        """Make the member and two accounts with 1,000 each."""
        self.root = await self.database.connect("postgres")
        self.migrate = await self.database.connect("app_migrate")
        self.worker = await self.database.connect("app_worker")
        self.member: UUID = await make_user(self.migrate)
        self.first = await self.account()
        self.second = await self.account()

    async def account(self, cash: Decimal | None = Decimal(1000)) -> int:
        """Make an account."""
        return await make_account(self.migrate, {self.member: True}, cash=cash)

    async def opened(self, account_id: int, at: datetime) -> None:
        """Let an account, and what was paid in, be as old as this."""
        for table in ("accounts", "cash_movements"):
            query = f"UPDATE app.{table} SET created_at = $2 WHERE account_id = $1"  # noqa: S608
            await self.root.execute(query, account_id, at)

    async def sampled(self, account_id: int, at: datetime, equity: object) -> None:
        """Write a sample."""
        await self.root.execute(
            "INSERT INTO market.equity VALUES ($1, $2, 'USD', $3, 0)",
            *(account_id, at, Decimal(str(equity))),
        )

    async def paid(self, account_id: int, at: datetime, amount: int) -> None:
        """Write money paid in or out."""
        await self.root.execute(
            "INSERT INTO app.cash_movements (account_id, currency, amount, kind, reference,"
            " created_at) VALUES ($1, 'USD', $2, $3, $4, $5)",
            *(account_id, Decimal(amount), "deposit" if amount > 0 else "withdrawal", str(at), at),
        )

    async def hold(self, account_id: int, quantity: int, cost: int) -> None:
        """Give an account a position in AAPL."""
        await self.root.execute(
            "INSERT INTO app.positions (account_id, instrument_id, quantity, cost) VALUES"
            " ($1, 1, $2, $3)",
            *(account_id, Decimal(quantity), Decimal(cost)),
        )

    async def read(
        self, query: str, *arguments: Any, user_id: UUID | None = None
    ) -> list[asyncpg.Record]:
        """Read as a user."""
        key = self.database.settings.secret("db_token_key")
        return await read(self.database, sign(key, user_id or self.member), query, *arguments)

    async def curve(
        self, *accounts: int, since: datetime, until: datetime, points: int | None = 1500
    ) -> list[asyncpg.Record]:
        """Return the equity curve."""
        query = "SELECT * FROM reporting.equity_curve($1, $2, $3, $4)"
        return await self.read(query, list(accounts), since, until, points)

    async def days(self, *accounts: int, since: date, until: date) -> list[asyncpg.Record]:
        """Return the days."""
        query = "SELECT * FROM reporting.daily_pnl($1, $2, $3)"
        return await self.read(query, list(accounts), since, until)

    async def summary(self, account_id: int) -> asyncpg.Record:
        """Return the summary of an account."""
        query = "SELECT * FROM reporting.account_summary WHERE account_id = ANY ($1)"
        (row,) = await self.read(query, [account_id])
        return row


@pytest.fixture
async def desk(database: Database) -> Desk:
    """Two accounts."""
    desk = Desk(database)
    await desk.open()
    return desk


# --- sampling -------------------------------------------------------------------------------


async def test_a_sample_holds_every_account_at_one_moment(desk: Desk) -> None:
    await make_instrument(desk.migrate, "AAPL")
    await set_price(desk.migrate, "AAPL", "20")
    await desk.hold(desk.first, 3, 50)
    assert await desk.worker.fetchval("SELECT app.sp_equity_sample()") == 2
    rows = await desk.root.fetch("SELECT * FROM market.equity ORDER BY account_id")
    assert [(row["cash"], row["market_value"]) for row in rows] == [(1000, 60), (1000, 0)]
    assert len({row["equity_at"] for row in rows}) == 1
    assert await desk.worker.fetchval("SELECT app.sp_equity_sample()") == 2


async def test_an_account_whose_worth_is_not_known_is_left_out(desk: Desk) -> None:
    await make_instrument(desk.migrate, "AAPL")
    await desk.hold(desk.first, 3, 50)
    assert await desk.worker.fetchval("SELECT app.sp_equity_sample()") == 1
    assert await desk.root.fetchval("SELECT account_id FROM market.equity") == desk.second


async def test_old_samples_are_thinned_to_the_last_of_five_minutes(desk: Desk) -> None:
    await desk.root.execute(
        "INSERT INTO market.equity SELECT a, date_trunc('day', now()) - d * interval '1 day'"
        " + g * interval '10 s', 'USD', g, 0"
        " FROM unnest($1::bigint[]) AS a, unnest(ARRAY[6, 9]) AS d, generate_series(0, 89) AS g",
        [desk.first, desk.second],
    )
    for _ in range(2):
        await desk.migrate.execute("SELECT app.sp_housekeep('5 days', '5 days', '5 days')")
    rows = await desk.root.fetch(
        "SELECT account_id, cash FROM market.equity WHERE equity_at < now() - interval '8 days'"
        " ORDER BY account_id, equity_at"
    )
    kept = [29, 59, 89]
    assert [tuple(row) for row in rows] == [(a, k) for a in (desk.first, desk.second) for k in kept]
    assert await desk.root.fetchval("SELECT count(*) FROM market.equity") == 6 + 180


# --- the curve ------------------------------------------------------------------------------


async def test_accounts_add_up_and_a_missing_sample_counts_with_the_one_before(desk: Desk) -> None:
    for minute, (first, second) in enumerate([(100, 50), (110, None), (90, 70)]):
        at = NOON + timedelta(minutes=minute)
        await desk.sampled(desk.first, at, first)
        if second is not None:
            await desk.sampled(desk.second, at, second)
    rows = await desk.curve(desk.first, desk.second, since=NOON, until=NOON + DAY)
    assert [row["equity"] for row in rows] == [150, 160, 160]
    assert [row["equity_at"] - NOON for row in rows] == [timedelta(minutes=m) for m in range(3)]
    rows = await desk.curve(desk.first, since=NOON, until=NOON + DAY)
    assert [row["equity"] for row in rows] == [100, 110, 90]
    falls = [row["drawdown"] for row in rows]
    assert falls[:2] == [0, 0]
    assert abs(falls[2] - (Decimal(90) / 110 - 1)) < Decimal("1e-15")


async def test_what_was_before_the_window_carries_in_and_what_is_outside_does_not_show(
    desk: Desk,
) -> None:
    await desk.sampled(desk.second, NOON - DAY, 7)
    await desk.sampled(desk.first, NOON - timedelta(seconds=1), 1)
    await desk.sampled(desk.first, NOON, 100)
    await desk.sampled(desk.first, NOON + timedelta(hours=1), 200)
    await desk.sampled(desk.first, NOON + timedelta(hours=2), 999)
    until = NOON + timedelta(hours=1)
    rows = await desk.curve(desk.first, desk.second, since=NOON, until=until)
    assert [(row["equity_at"], row["equity"]) for row in rows] == [(NOON, 107), (until, 207)]


@pytest.mark.parametrize("points", [2, 7, 100, 1500])
async def test_a_long_history_is_drawn_in_few_points_from_its_first_to_its_last(
    desk: Desk, points: int
) -> None:
    await desk.root.execute(
        "INSERT INTO market.equity SELECT $1, $2::timestamptz + g * interval '10 s', 'USD', g, 0"
        " FROM generate_series(0, 8639) AS g",
        *(desk.first, NOON),
    )
    rows = await desk.curve(desk.first, since=NOON, until=NOON + DAY, points=points)
    assert points * 0.9 <= len(rows) <= points
    assert (rows[0]["equity"], rows[-1]["equity"]) == (0, 8639)
    assert rows[-1]["equity_at"] == NOON + timedelta(seconds=86_390)
    moments = [row["equity_at"] for row in rows]
    assert moments == sorted(set(moments))


async def test_a_short_history_keeps_every_point_whatever_the_window(desk: Desk) -> None:
    for second in range(0, 300, 10):
        await desk.sampled(desk.first, NOON + timedelta(seconds=second), second)
    rows = await desk.curve(desk.first, since=NOON - 365 * DAY, until=NOON + 365 * DAY)
    assert [row["equity"] for row in rows] == list(range(0, 300, 10))


@pytest.mark.parametrize("points", [None, 0, -1, 10**9])
async def test_an_odd_number_of_points_is_no_error(desk: Desk, points: int | None) -> None:
    await desk.sampled(desk.first, NOON, 5)
    rows = await desk.curve(desk.first, since=NOON, until=NOON + DAY, points=points)
    assert [row["equity"] for row in rows] == [5]
    assert await desk.curve(since=NOON, until=NOON + DAY, points=points) == []
    assert await desk.curve(desk.second, since=NOON, until=NOON + DAY, points=points) == []


async def test_an_account_worth_nothing_has_no_fall(desk: Desk) -> None:
    for minute, equity in enumerate([0, -5]):
        await desk.sampled(desk.first, NOON + timedelta(minutes=minute), equity)
    rows = await desk.curve(desk.first, since=NOON, until=NOON + DAY)
    assert [row["drawdown"] for row in rows] == [None, None]


# --- days -----------------------------------------------------------------------------------


async def test_a_day_goes_from_the_sample_before_it_to_its_last(desk: Desk) -> None:
    await desk.opened(desk.first, NOON - 10 * DAY)
    await desk.sampled(desk.first, NOON - DAY, 1000)
    await desk.sampled(desk.first, NOON, 1010)
    await desk.sampled(desk.first, NOON + timedelta(hours=1), 1030)
    await desk.sampled(desk.first, NOON + DAY, 1025)
    rows = await desk.days(desk.first, since=NOON.date(), until=(NOON + DAY).date())
    assert [(r["day"], r["equity_start"], r["equity_end"], r["pnl"]) for r in rows] == [
        (NOON.date(), 1000, 1030, 30),
        ((NOON + DAY).date(), 1030, 1025, -5),
    ]


async def test_money_paid_in_or_out_is_no_profit(desk: Desk) -> None:
    await desk.opened(desk.first, NOON)
    await desk.sampled(desk.first, NOON + timedelta(minutes=1), 1000)
    await desk.sampled(desk.first, NOON + timedelta(hours=1), 1003)
    # After the last sample of its day: it counts on the day whose sample holds it.
    await desk.paid(desk.first, NOON + timedelta(hours=2), 500)
    await desk.sampled(desk.first, NOON + DAY, 1504)
    await desk.paid(desk.first, NOON + 2 * DAY, -100)
    await desk.sampled(desk.first, NOON + 2 * DAY + timedelta(hours=1), 1402)
    rows = await desk.days(desk.first, since=NOON.date(), until=NOON.date() + 3 * DAY)
    assert [(r["equity_start"], r["net_flow"], r["pnl"]) for r in rows] == [
        (0, 1000, 3),
        (1003, 500, 1),
        (1504, -100, -2),
    ]


async def test_an_account_that_was_never_sampled_begins_with_its_first_sample(desk: Desk) -> None:
    await desk.opened(desk.first, NOON - 30 * DAY)
    await desk.sampled(desk.first, NOON, 1200)
    await desk.sampled(desk.first, NOON + timedelta(hours=1), 1210)
    (row,) = await desk.days(desk.first, since=date(2026, 1, 1), until=date(2026, 12, 31))
    assert (row["equity_start"], row["net_flow"], row["pnl"]) == (1200, 0, 10)


async def test_days_of_several_accounts_add_up_and_idle_days_are_left_out(desk: Desk) -> None:
    for account_id in (desk.first, desk.second):
        await desk.opened(account_id, NOON - 30 * DAY)
        await desk.sampled(account_id, NOON - DAY, 100)
    await desk.sampled(desk.first, NOON, 110)
    await desk.sampled(desk.second, NOON + 3 * DAY, 90)
    since, until = NOON.date(), NOON.date() + 5 * DAY
    rows = await desk.days(desk.first, desk.second, since=since, until=until)
    assert [(r["day"], r["equity_start"], r["equity_end"], r["pnl"]) for r in rows] == [
        (since, 200, 210, 10),
        (since + 3 * DAY, 210, 200, -10),
    ]


def expected_day(accounts: list[Past], since: datetime) -> tuple[Decimal, ...] | None:
    """Work a day out account by account: worth at its start and end, and what was paid."""
    sums, sampled = [Decimal(0)] * 3, False
    for it in accounts:
        upto = [one for one in it.samples if one[0] < since + DAY]
        if not upto:
            continue
        before = [one for one in it.samples if one[0] < since]
        if not before and it.opened_at < since:
            before = it.samples[:1]
        start_at, start = before[-1] if before else (datetime.min.replace(tzinfo=UTC), Decimal(0))
        end_at, end = upto[-1]
        flow = sum(amount for at, amount in it.paid if start_at < at <= end_at)
        sums = [one + more for one, more in zip(sums, (start, end, flow), strict=True)]
        sampled = sampled or end_at >= since
    return tuple(sums) if sampled else None


@pytest.mark.parametrize("seed", range(12))
async def test_days_are_those_of_a_plain_reckoning(desk: Desk, seed: int) -> None:
    # Hours of ten days, so that moments meet: a payment in the very moment of a sample, too.
    dice, start = random.Random(seed), NOON.replace(hour=0) - 10 * DAY
    hours = [start + timedelta(hours=hour) for hour in range(-48, 240, 3)]
    accounts, ids = [], [desk.first, desk.second, await desk.account(cash=None)]
    for account_id in ids:
        opened_at = dice.choice([start - 5 * DAY, *hours])
        later = [at for at in hours if at >= opened_at]
        samples = sorted(dice.sample(later, dice.randint(0, min(12, len(later)))))
        paid = sorted(dice.sample(later, dice.randint(0, min(8, len(later)))))
        worth = [(at, Decimal(dice.randint(900, 1100))) for at in samples]
        flows = [(at, dice.choice([-30, 20, 500])) for at in paid]
        await desk.root.execute("DELETE FROM app.cash_movements WHERE account_id = $1", account_id)
        await desk.opened(account_id, opened_at)
        for at, equity in worth:
            await desk.sampled(account_id, at, equity)
        for at, amount in flows:
            await desk.paid(account_id, at, amount)
        accounts.append(Past(opened_at, worth, flows))
    rows = await desk.days(*ids, since=start.date(), until=start.date() + 11 * DAY)
    days = {start.date() + n * DAY: expected_day(accounts, start + n * DAY) for n in range(12)}
    told = {r["day"]: (r["equity_start"], r["equity_end"], r["net_flow"]) for r in rows}
    assert told == {day: figures for day, figures in days.items() if figures}
    assert all(r["pnl"] == r["equity_end"] - r["equity_start"] - r["net_flow"] for r in rows)


async def test_a_day_counts_its_fills_and_fees(desk: Desk) -> None:
    await make_instrument(desk.migrate, "AAPL")
    await desk.opened(desk.first, NOON - DAY)
    await desk.sampled(desk.first, NOON, 1)
    order_id = await desk.root.fetchval(
        "INSERT INTO app.orders (client_order_id, request_hash, account_id, instrument_id, side,"
        " order_type, time_in_force, quantity, created_by, request_id) VALUES ('c', '\\x', $1, 1,"
        " 'buy', 'market', 'day', 10, $2, 'r') RETURNING order_id",
        *(desk.first, desk.member),
    )
    midnight = NOON.replace(hour=0)
    for number, at in enumerate([midnight, NOON, midnight + DAY, midnight - timedelta(seconds=1)]):
        await desk.root.execute(
            "INSERT INTO app.executions (order_id, account_id, instrument_id, source, exec_base,"
            " side, quantity, price, currency, fee, fee_currency, executed_at)"
            " VALUES ($1, $2, 1, 'qc:1', $3, 'buy', 1, 20, 'USD', 1.25, $4, $5)",
            *(order_id, desk.first, f"e{number}", "EUR" if number == 1 else "USD", at),
        )
    assert await desk.days(desk.first, since=NOON.date(), until=NOON.date()) == [], "no rate"
    rate = {"quote": "USD", "rate_date": str(NOON.date()), "rate": "2"}
    put = "SELECT app.sp_fx_rates_put('operator:t', 'ecb', 'EUR', $1::jsonb)"
    await desk.migrate.execute(put, json.dumps([rate]))
    (row,) = await desk.days(desk.first, since=NOON.date(), until=NOON.date())
    assert (row["executions"], row["fees"], row["traded"]) == (2, Decimal("3.75"), 40)


# --- now ------------------------------------------------------------------------------------


async def test_the_summary_says_what_an_account_is_worth_and_made_today(desk: Desk) -> None:
    await make_instrument(desk.migrate, "AAPL")
    await set_price(desk.migrate, "AAPL", "20")
    await desk.hold(desk.first, -3, -50)
    await desk.root.execute(
        "INSERT INTO app.orders (client_order_id, request_hash, account_id, instrument_id, side,"
        " order_type, time_in_force, quantity, limit_price, status, created_by, request_id)"
        " SELECT s, '\\x', $1, 1, 'buy', 'limit', 'day', 100, 25, s, $2, 'r'"
        " FROM unnest(ARRAY['new', 'accepted', 'filled', 'canceled', 'lost']) AS s",
        *(desk.first, desk.member),
    )
    row = await desk.summary(desk.first)
    assert (row["cash"], row["market_value"], row["equity"]) == (1000, -60, 940)
    assert (row["gross_exposure"], row["unrealized_pnl"]) == (60, -10)
    # Opened today with 1,000: what is left of that is today's result.
    assert row["day_pnl"] == -60
    assert (row["open_orders"], row["limit_use"]) == (3, Decimal("0.05"))
    assert row["price_received_at"] is not None


async def test_the_day_begins_with_the_last_sample_before_midnight(desk: Desk) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await desk.opened(desk.first, midnight - 5 * DAY)
    assert (await desk.summary(desk.first))["day_pnl"] is None
    await desk.sampled(desk.first, midnight, 940)
    assert (await desk.summary(desk.first))["day_pnl"] == 60
    await desk.sampled(desk.first, midnight - timedelta(hours=1), 980)
    await desk.sampled(desk.first, midnight - timedelta(hours=2), 1)
    assert (await desk.summary(desk.first))["day_pnl"] == 20
    await desk.paid(desk.first, datetime.now(UTC), 15)
    assert (await desk.summary(desk.first))["day_pnl"] == 5


async def test_a_day_with_an_unpriced_position_has_no_result(desk: Desk) -> None:
    await make_instrument(desk.migrate, "AAPL")
    await desk.hold(desk.first, 3, 50)
    row = await desk.summary(desk.first)
    assert (row["day_pnl"], row["unpriced"], row["gross_exposure"]) == (None, 1, 0)


async def test_curves_days_and_summaries_are_for_members_alone(desk: Desk) -> None:
    stranger = await make_user(desk.migrate)
    await desk.sampled(desk.first, NOON, 1)
    accounts = [desk.first, desk.second]
    curve = "SELECT * FROM reporting.equity_curve($1, '-infinity', 'infinity', 100)"
    days = "SELECT * FROM reporting.daily_pnl($1, '2020-01-01', '2030-01-01')"
    summary = "SELECT * FROM reporting.account_summary WHERE account_id = ANY ($1)"
    for query, count in ((curve, 1), (days, 1), (summary, 2)):
        assert len(await desk.read(query, accounts)) == count
        assert await desk.read(query, accounts, user_id=stranger) == []
