"""The check after a load finds what it is there to find."""

import tomllib

import pytest
from load.books import compare
from load.demo import load_demo
from load.hops import drawn, histogram
from load.run import percentiles

FILLED = {"client_order_id": "k", "order_id": "7", "status": "filled", "ended_before": None}
TOLD = {"k": {"order_id": "7", "status": "new"}}


def test_an_order_that_is_once_everywhere_is_no_breach() -> None:
    assert compare([FILLED], {"k": 1}, TOLD) == []


@pytest.mark.parametrize(
    ("orders", "venue", "breach"),
    [
        ([], {}, "k was confirmed and is not in the books"),
        ([FILLED | {"order_id": "8"}], {"k": 1}, "k was confirmed and is not in the books"),
        ([FILLED], {}, "k is filled and not at the venue"),
        ([FILLED], {"k": 2}, "k is 2 times at the venue"),
        ([FILLED], {"k": 1, "x": 1}, "x is at the venue only"),
        ([FILLED | {"status": "denied"}], {}, "k was told new and is denied"),
        ([FILLED | {"ended_before": "canceled"}], {"k": 1}, "k is filled and at the venue"),
    ],
)
def test_a_difference_between_ledger_books_and_venue_is_a_breach(
    orders: list[dict[str, str]], venue: dict[str, int], breach: str
) -> None:
    assert breach in compare(orders, venue, TOLD)


def test_an_order_that_ended_before_the_wire_belongs_not_at_the_venue() -> None:
    assert compare([FILLED | {"status": "canceled", "ended_before": "canceled"}], {}, TOLD) == []


def test_each_trader_of_a_load_has_an_account_of_his_own() -> None:
    demo = tomllib.loads(load_demo(3))
    owned = [user["accounts"][0]["name"] for user in demo["user"]]
    assert owned == [account["name"] for account in demo["account"]]
    assert len(set(owned)) == 3


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles(range(1, 101)) == {"count": 100, "p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
    assert percentiles([]) == {"count": 0}


def test_a_histogram_counts_every_value_once() -> None:
    bars = histogram([-1, 5, 5.1, 49, 20_000])
    assert bars == {
        **{"to 5 ms": 2, "to 10 ms": 1, "to 20 ms": 0, "to 50 ms": 1},
        **dict.fromkeys(["to 100 ms", "to 200 ms", "to 500 ms", "to 1000 ms"], 0),
        **{"to 2000 ms": 0, "to 5000 ms": 0, "to 10000 ms": 0, "longer": 1},
    }
    assert histogram([]) == {}
    assert [line.count("#") for line in drawn(bars)][:2] == [40, 20]
