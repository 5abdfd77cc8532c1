"""The matching core by table, and by invention: money and shares are conserved."""

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper.journal import Record
from paper.matching import Book
from paper.orders import Order, Refused, commission
from paper.settings import Instrument

AT = datetime(2026, 1, 5, 15, tzinfo=UTC)
PROJECT = 1001
CASH = Decimal(100_000)
PLENTY = Decimal(1_000_000)


def make_book(price: str = "20.00", volume: Decimal = PLENTY) -> Book:
    instruments = [Instrument(s, Decimal("0.01"), Decimal(1)) for s in ("AAPL", "IBM")]
    book = Book(tuple(instruments))
    book.open_account(PROJECT, CASH)
    for instrument in instruments:
        book.tick(instrument.symbol, Decimal(price), volume, AT)
    return book


def place(book: Book, **fields: Any) -> Order:
    order: dict[str, Any] = {
        "project_id": PROJECT,
        "tag": "one",
        "symbol": "AAPL",
        "side": "buy",
        "quantity": "100",
        "limit_price": None,
        "time_in_force": "gtc",
        "session": 0,
        "at": AT,
        **fields,
    }
    order["quantity"] = Decimal(order["quantity"])
    for name in ("limit_price", "stop_price"):
        order[name] = None if order.get(name) is None else Decimal(order[name])
    (record, *_) = book.place(**order)
    return book.orders[record["order_id"]]


@pytest.mark.parametrize(
    ("side", "limit", "prices", "filled_at"),
    [
        ("buy", None, [], "20.00"),
        ("sell", None, [], "20.00"),
        ("buy", "20.00", [], "20.00"),
        ("buy", "21.00", [], "20.00"),
        ("buy", "19.00", ["19.01", "19.00"], "19.00"),
        ("buy", "19.00", ["18.50"], "18.50"),
        ("buy", "19.00", ["19.01", "25.00"], None),
        ("sell", "21.00", ["20.99", "21.00"], "21.00"),
        ("sell", "21.00", ["22.00"], "22.00"),
        ("sell", "21.00", ["20.99"], None),
    ],
)
def test_an_order_fills_when_the_market_reaches_it_and_never_worse_than_its_limit(
    side: str, limit: str | None, prices: list[str], filled_at: str | None
) -> None:
    book = make_book()
    order = place(book, side=side, limit_price=limit)
    for price in prices:
        book.tick("AAPL", Decimal(price), PLENTY, AT)
    fills = [str(event.price) for event in order.events if event.quantity]
    assert fills == ([] if filled_at is None else [filled_at])
    assert order.status == ("accepted" if filled_at is None else "filled")


@pytest.mark.parametrize(
    ("quantity", "price", "fee"),
    [
        ("1", "500", "1.00"),
        ("199", "20", "1.00"),
        ("200", "20", "1.00"),
        ("201", "20", "1.01"),
        ("10000", "20", "50.00"),
        ("1", "20", "0.20"),
        ("10000", "0.10", "10.00"),
    ],
)
def test_commission_is_half_a_cent_a_share_at_least_a_dollar_at_most_one_percent(
    quantity: str, price: str, fee: str
) -> None:
    assert commission(Decimal(quantity), Decimal(quantity) * Decimal(price)) == Decimal(fee)


def test_a_tick_gives_a_tenth_of_its_volume_to_all_orders_together_oldest_first() -> None:
    book = make_book(volume=Decimal(1_000))
    first, second = place(book, quantity="150"), place(book, quantity="100", tag="two")
    assert [first.filled, second.filled] == [100, 0]
    book.tick("AAPL", Decimal("20.00"), Decimal(1_000), AT)
    assert [first.status, second.filled] == ["filled", 50]
    assert [event.status for event in first.events] == ["accepted", "partially_filled", "filled"]
    assert [event.event_id for event in first.events] == [1, 2, 3]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"symbol": "TSLA"}, "unknown instrument"),
        ({"quantity": "0"}, "multiple of 1"),
        ({"quantity": "1.5"}, "multiple of 1"),
        ({"limit_price": "19.001"}, "minimum variation"),
        ({"limit_price": "0"}, "minimum variation"),
        ({"stop_price": "21.001"}, "minimum variation"),
        ({"quantity": "4900", "stop_price": "21"}, "buying power"),
        ({"quantity": "5000"}, "buying power"),
        ({"quantity": "5000", "side": "sell"}, "buying power"),
        ({"quantity": "1", "limit_price": "100001"}, "buying power"),
    ],
)
def test_an_order_the_venue_cannot_take_is_rejected_with_the_reason(
    fields: dict[str, Any], reason: str
) -> None:
    book = make_book()
    order = place(book, **fields)
    assert order.status == "rejected"
    assert reason in order.events[-1].message
    assert book.accounts[PROJECT].cash == CASH
    assert not book.open


def test_working_orders_use_up_buying_power() -> None:
    book = make_book()
    assert place(book, quantity="4000", limit_price="15").status == "accepted"
    assert place(book, quantity="4000", limit_price="15", symbol="IBM").status == "rejected"
    book.cancel(1, AT)
    assert place(book, quantity="4000", limit_price="15", symbol="IBM").status == "accepted"


def test_an_order_that_shrinks_a_position_passes_without_buying_power() -> None:
    book = make_book()
    place(book, quantity="4990")
    book.tick("AAPL", Decimal("1.00"), PLENTY, AT)
    assert place(book, side="sell", quantity="4990").status == "filled"
    assert book.accounts[PROJECT].positions["AAPL"].quantity == 0


def test_a_cancel_ends_an_open_order_once() -> None:
    book = make_book()
    order = place(book, limit_price="15")
    assert len(book.cancel(order.order_id, AT)) == 1
    assert book.cancel(order.order_id, AT) == []
    book.tick("AAPL", Decimal("10.00"), PLENTY, AT)
    assert [order.status, order.filled] == ["canceled", 0]


def test_a_day_order_ends_with_its_session_and_a_gtc_order_does_not() -> None:
    book = make_book()
    day = place(book, limit_price="15", time_in_force="day", session=3)
    gtc = place(book, limit_price="15", tag="two", session=3)
    book.expire(3, AT)
    assert day.status == "accepted"
    book.expire(4, AT)
    assert [day.status, gtc.status] == ["expired", "accepted"]


def test_an_order_that_is_good_until_a_moment_ends_at_it() -> None:
    book = make_book()
    until = AT + timedelta(seconds=5)
    order = place(book, limit_price="15", time_in_force="gtd", expires_at=until)
    book.expire(9, until - timedelta(microseconds=1))
    assert order.status == "accepted"
    book.expire(9, until)
    assert [order.status, order.events[-1].message] == ["expired", "The order has expired."]
    assert not book.open


@pytest.mark.parametrize(
    ("side", "stop", "limit", "prices", "filled_at"),
    [
        ("buy", "21.00", None, ["20.99", "21.00"], None),
        ("buy", "21.00", None, ["21.00", "21.40"], "21.40"),
        ("buy", "21.00", None, ["21.50", "19.00"], "19.00"),
        ("buy", "20.00", None, ["20.10"], "20.10"),
        ("buy", "21.00", None, ["20.99", "20.98", "19.00"], None),
        ("sell", "19.00", None, ["19.01", "19.00", "18.00"], "18.00"),
        ("sell", "19.00", None, ["19.01", "25.00"], None),
        ("buy", "21.00", "21.20", ["21.00", "21.30"], None),
        ("buy", "21.00", "21.20", ["21.00", "21.30", "21.10"], "21.10"),
        ("buy", "21.00", "21.20", ["20.50", "20.90"], None),
        ("sell", "19.00", "18.80", ["19.00", "18.70", "18.90"], "18.90"),
    ],
)
def test_a_stop_is_triggered_by_the_last_price_and_trades_from_the_next_one_on(
    side: str, stop: str, limit: str | None, prices: list[str], filled_at: str | None
) -> None:
    book = make_book()
    order = place(book, side=side, stop_price=stop, limit_price=limit)
    for price in prices:
        book.tick("AAPL", Decimal(price), PLENTY, AT)
    fills = [str(event.price) for event in order.events if event.quantity]
    assert fills == ([] if filled_at is None else [filled_at])


def test_a_stop_is_not_triggered_outside_market_hours() -> None:
    book = make_book()
    book.is_open = False
    order = place(book, stop_price="19.00")
    book.tick("AAPL", Decimal("22.00"), PLENTY, AT)
    assert [order.triggered, order.status] == [False, "accepted"]


def replace(book: Book, order: Order, **values: str) -> list[Record]:
    given = {name: Decimal(value) for name, value in values.items()}
    names = ("quantity", "limit_price", "stop_price")
    return book.replace(order.order_id, *(given.get(name) for name in names), AT)


def test_a_replace_changes_what_is_given_and_matches_at_once() -> None:
    book = make_book()
    order = place(book, limit_price="15")
    replace(book, order, quantity="50")
    assert [order.quantity, order.limit_price, order.status] == [50, 15, "accepted"]
    replace(book, order, limit_price="20.00")
    told = " ".join(f"{e.status} {e.order_quantity}@{e.limit_price}" for e in order.events)
    assert told == "accepted 100@15 replaced 50@15 replaced 50@20.00 filled 50@20.00"


def test_a_replaced_stop_waits_for_its_new_price() -> None:
    book = make_book()
    order = place(book, stop_price="21")
    replace(book, order, stop_price="22")
    book.tick("AAPL", Decimal("21.50"), PLENTY, AT)
    assert not order.triggered
    book.tick("AAPL", Decimal("22.00"), PLENTY, AT)
    assert order.triggered


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"quantity": "40"}, "40 are filled"),
        ({"quantity": "39"}, "40 are filled"),
        ({"quantity": "99.5"}, "multiple of 1"),
        ({"limit_price": "20.001"}, "minimum variation"),
        ({"stop_price": "19"}, "does not have this price"),
        ({"quantity": "6000"}, "buying power"),
    ],
)
def test_a_replace_that_the_venue_cannot_do_leaves_the_order_as_it_is(
    values: dict[str, str], reason: str
) -> None:
    book = make_book(volume=Decimal(400))
    order = place(book, limit_price="20.00")
    with pytest.raises(Refused, match=reason):
        replace(book, order, **values)
    assert [order.quantity, order.limit_price, order.filled] == [100, 20, 40]
    assert order.events[-1].status == "partially_filled"


def test_a_closed_order_and_a_triggered_stop_are_not_changed() -> None:
    book = make_book()
    with pytest.raises(Refused, match="closed"):
        replace(book, place(book), quantity="200")
    order = place(book, stop_price="20", tag="two")
    with pytest.raises(Refused, match="triggered"):
        replace(book, order, stop_price="22")


def test_a_changed_order_counts_once_against_the_buying_power() -> None:
    book = make_book()
    order = place(book, quantity="3000", limit_price="19")
    replace(book, order, quantity="4000")
    with pytest.raises(Refused, match="buying power"):
        replace(book, order, quantity="5300")


def test_a_held_price_stays_until_it_is_released() -> None:
    book = make_book()
    order = place(book, limit_price="15")
    book.hold("AAPL", Decimal("16.00"))
    book.tick("AAPL", Decimal("14.00"), PLENTY, AT)
    assert order.status == "accepted"
    book.hold("AAPL", None)
    book.tick("AAPL", Decimal("14.00"), PLENTY, AT)
    assert order.status == "filled"


def test_outside_market_hours_an_order_waits_for_the_first_tick_after_the_opening() -> None:
    book = make_book()
    book.is_open = False
    order = place(book)
    book.tick("AAPL", Decimal("19.00"), PLENTY, AT)
    assert order.status == "accepted"
    book.is_open = True
    book.tick("AAPL", Decimal("21.00"), PLENTY, AT)
    assert [order.status, order.events[-1].price] == ["filled", Decimal("21.00")]


def test_a_fault_rejects_an_order_with_its_own_reason() -> None:
    order = place(make_book(), reject="halted")
    assert [order.status, order.events[-1].message] == ["rejected", "halted"]


prices = st.integers(500, 5_000).map(lambda n: Decimal(n) / 100)
sides, symbols = st.sampled_from(["buy", "sell"]), st.sampled_from(["AAPL", "IBM"])
actions = st.one_of(
    st.tuples(
        st.just("place"),
        symbols,
        sides,
        st.integers(1, 6_000),
        st.none() | prices,
        st.none() | prices,
    ),
    st.tuples(st.just("replace"), st.integers(1, 40), st.integers(1, 6_000), st.none() | prices),
    st.tuples(st.just("cancel"), st.integers(1, 40)),
    st.tuples(st.just("tick"), symbols, prices, st.integers(0, 30_000)),
    st.tuples(st.just("close"), st.integers(0, 5)),
)


def carry_out(book: Book, step: int, action: tuple[Any, ...]) -> list[Record]:
    at = AT + timedelta(seconds=step)
    match action:
        case ("place", symbol, side, quantity, limit, stop):
            return book.place(
                project_id=PROJECT,
                tag=f"order-{step}",
                symbol=symbol,
                side=side,
                quantity=Decimal(quantity),
                limit_price=limit,
                stop_price=stop,
                time_in_force="day" if step % 2 else "gtc",
                session=step // 10,
                at=at,
            )
        case ("replace", order_id, quantity, price):
            order = book.orders.get(order_id)
            limit = price if order is not None and order.limit_price is not None else None
            stop = price if order is not None and order.stop_price is not None else None
            with contextlib.suppress(Refused):
                return book.replace(order_id, Decimal(quantity), limit, stop, at)
            return []
        case ("cancel", order_id):
            return book.cancel(order_id, at)
        case ("tick", symbol, price, volume):
            return book.tick(symbol, price, Decimal(volume), at)
        case (_, session):
            return book.expire(session, at)
    raise AssertionError(action)


@settings(max_examples=150, deadline=None)
@given(st.lists(actions, max_size=40))
def test_money_and_shares_are_conserved_and_a_journal_rebuilds_the_same_book(
    script: list[tuple[Any, ...]],
) -> None:
    book = make_book(volume=Decimal(2_000))
    records = [{"kind": "account", "project_id": PROJECT, "cash": str(CASH)}]
    for step, action in enumerate(script):
        records += carry_out(book, step, action)
        check(book)
    again = Book(tuple(book.instruments.values()))
    for record in records:
        again.apply(record)
    assert again.orders == book.orders
    assert holdings(again) == holdings(book)
    assert again.open.keys() == book.open.keys()


def holdings(book: Book) -> tuple[Decimal, dict[str, tuple[Decimal, Decimal]]]:
    account = book.accounts[PROJECT]
    positions = account.positions.items()
    return account.cash, {s: (p.quantity, p.cost) for s, p in positions if p.quantity}


def check(book: Book) -> None:
    account, fills = book.accounts[PROJECT], []
    for order in book.orders.values():
        assert order.filled == sum(event.quantity for event in order.events)
        assert order.filled <= order.quantity
        assert (order.status == "filled") == (order.filled == order.quantity)
        assert order.fees == (commission(order.filled, order.notional) if order.filled else 0)
        assert all(event.fee >= 0 for event in order.events)
        for event in order.events:
            if event.quantity:
                fills.append((order, event))
                limit = event.limit_price
                assert limit is None or (event.price - limit) * order.sign <= 0
    paid = sum((o.sign * e.quantity * e.price + e.fee for o, e in fills), Decimal(0))
    assert account.cash == CASH - paid
    for symbol in book.instruments:
        held = sum((o.sign * e.quantity for o, e in fills if o.symbol == symbol), Decimal(0))
        assert account.positions[symbol].quantity == held
        assert (account.positions[symbol].cost == 0) == (held == 0)
