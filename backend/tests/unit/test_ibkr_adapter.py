"""The route `ib` over the real wire of ib_async, before a TWS face that misbehaves in each way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ibkr_world import CLIENT_ID, Bench, bench, make_adapter, send_of
from tws_face import ACCOUNT, OnPlace, TwsFace
from tws_layouts import frame
from worker_world import eventually

from app.services.broker import OutcomeKind
from app.services.ibkr_adapter import order_of


@pytest.fixture
async def desk() -> AsyncIterator[Bench]:
    """An adapter that is connected."""
    async with bench() as desk:
        await desk.ready()
        yield desk


async def test_an_order_arrives_as_it_was_meant_and_is_named_by_both_sides(desk: Bench) -> None:
    outcome = await desk.adapter.place(send_of(time_in_force="gtc", symbol="BRK.B"))
    order = desk.face.book.order("one")
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.broker_order_id == str(order.perm_id)
    assert (order.symbol, order.action, order.order_type, order.tif) == (
        *("BRK B", "BUY", "LMT", "GTC"),
    )
    assert (order.quantity, order.limit, order.account) == (Decimal(10), "20.5", ACCOUNT)
    await eventually(lambda: desk.inbox.statuses("one") == ["accepted"])
    assert desk.inbox.of("one")[0]["broker_order_id"] == str(order.perm_id)


async def test_a_market_order_carries_no_price(desk: Bench) -> None:
    send = send_of(order_type="market", limit_price=None, side="sell")
    assert (await desk.adapter.place(send)).kind is OutcomeKind.ACCEPTED
    order = desk.face.book.order("one")
    assert (order.order_type, order.action, order.limit) == ("MKT", "SELL", "")


async def test_a_stop_limit_carries_both_prices_and_the_moment_of_its_end(desk: Bench) -> None:
    until = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    fields = {"order_type": "stop_limit", "stop_price": Decimal(21), "time_in_force": "gtd"}
    order = order_of(send_of(**fields, expires_at=until))
    assert (order.orderType, order.lmtPrice, order.auxPrice) == ("STP LMT", "20.5", "21")
    assert (order.tif, order.goodTillDate) == ("GTD", "20300102-03:04:05")
    assert (await desk.adapter.place(send_of(**fields, expires_at=until))).kind is (
        OutcomeKind.ACCEPTED
    )


async def test_a_replace_is_refused_with_its_code_and_nothing_is_sent(desk: Bench) -> None:
    outcome = await desk.adapter.replace(send_of(action="replace", quantity=None))
    assert outcome.kind is OutcomeKind.DEFINITE_REJECT
    assert (outcome.reason or "").startswith("REPLACE_NOT_SUPPORTED")
    assert desk.face.received[3] == 0


async def test_a_partial_fill_waits_for_its_fee_and_is_booked_with_it(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    desk.face.commissions = False
    first = desk.face.fill("one", "4", "20.25")
    desk.face.cancel("one")
    await desk.adapter.place(send_of("two"))
    await eventually(lambda: desk.inbox.statuses("two") == ["accepted"])
    assert desk.inbox.statuses("one") == ["accepted"]
    desk.face.commission(first, "1.35")
    await eventually(lambda: "canceled" in desk.inbox.statuses("one"))
    # The end of an order never overtakes what was traded before it.
    assert desk.inbox.statuses("one") == ["accepted", "partially_filled", "canceled"]
    (fill,) = desk.inbox.fills("one")
    assert (fill["fill_quantity"], fill["fill_price"]) == ("4", "20.25")
    assert (fill["fee"], fill["fee_currency"]) == ("1.35", "USD")


async def test_a_fee_that_does_not_come_holds_up_no_fill_for_long() -> None:
    async with bench(fee_s=0.05) as desk:
        await desk.ready()
        await desk.adapter.place(send_of())
        desk.face.commissions = False
        desk.face.fill("one", "10", "20")
        (fill,) = await eventually(lambda: desk.inbox.fills("one"))
        assert "fee" not in fill


@pytest.mark.parametrize("behavior", [OnPlace.REJECT, OnPlace.REJECT_STATUS_FIRST])
async def test_a_rejection_is_no_cancel_whatever_its_status_says(
    desk: Bench, behavior: OnPlace
) -> None:
    desk.face.on_place["one"] = behavior
    outcome = await desk.adapter.place(send_of())
    assert outcome.kind is OutcomeKind.DEFINITE_REJECT
    assert "201" in (outcome.reason or "")
    assert (await desk.adapter.query(send_of())).kind is OutcomeKind.ACCEPTED
    (state,) = await eventually(lambda: desk.inbox.of("one"))
    assert (state["kind"], state["status"]) == ("order_state", "rejected")


async def test_a_rejection_after_acceptance_is_reported(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    order = desk.face.book.order("one")
    desk.face.notice(201, "Order rejected - reason:no margin", order.order_id)
    await eventually(lambda: desk.inbox.statuses("one") == ["accepted", "rejected"])


async def test_a_cancel_ends_the_order(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    assert (await desk.adapter.cancel(send_of())).kind is OutcomeKind.ACCEPTED
    await eventually(lambda: desk.inbox.statuses("one") == ["accepted", "canceled"])


async def test_a_cancel_that_comes_too_late_is_refused(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    desk.face.fill("one", "10", "20")
    outcome = await desk.adapter.cancel(send_of())
    assert outcome.kind is OutcomeKind.DEFINITE_REJECT
    assert "10148" in (outcome.reason or "")


async def test_an_order_canceled_by_the_venue_without_a_code_is_canceled(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    order = desk.face.book.order("one")
    desk.face.say_raw(
        frame(3, order.order_id, "Cancelled", 0, 10, 0, order.perm_id, 0, 0, CLIENT_ID, "", 0)
    )
    await eventually(lambda: desk.inbox.statuses("one") == ["accepted", "canceled"])


async def test_a_warning_leaves_an_order_alive(desk: Bench) -> None:
    desk.face.on_place["one"] = OnPlace.WARN
    assert (await desk.adapter.place(send_of())).kind is OutcomeKind.ACCEPTED
    for code in (2104, 2106, 2158, 321, 110):
        desk.face.notice(code, "said of a living order", desk.face.book.order("one").order_id)
    await desk.adapter.query(send_of())
    await eventually(lambda: desk.inbox.of("one", "order_state"))
    assert desk.inbox.statuses("one") == ["accepted"]


async def test_an_order_that_may_have_left_is_unknown_and_then_found(desk: Bench) -> None:
    desk.face.on_place["one"] = OnPlace.TAKE_AND_DROP
    assert (await desk.adapter.place(send_of())).kind is OutcomeKind.UNKNOWN
    await desk.ready()
    assert (await desk.adapter.query(send_of())).kind is OutcomeKind.ACCEPTED
    (state,) = await eventually(lambda: desk.inbox.of("one", "order_state"))
    assert (state["known"], state["status"]) == (True, "accepted")


@pytest.mark.parametrize("traded", ["0", "4", "10"])
async def test_an_order_that_the_venue_has_is_not_sent_again(desk: Bench, traded: str) -> None:
    desk.face.on_place["one"] = OnPlace.TAKE_AND_DROP
    await desk.adapter.place(send_of())
    if traded != "0":
        desk.face.book.execute("one", traded, "20")
    await desk.ready()
    assert (await desk.adapter.place(send_of(attempts=2))).kind is OutcomeKind.ACCEPTED
    assert desk.face.received[3] == 1
    assert len(desk.face.book.orders) == 1


async def test_an_order_that_never_arrived_is_proved_absent_in_two_looks(desk: Bench) -> None:
    desk.face.on_place["one"] = OnPlace.DROP
    assert (await desk.adapter.place(send_of())).kind is OutcomeKind.UNKNOWN
    await desk.ready()
    assert (await desk.adapter.query(send_of())).kind is OutcomeKind.UNKNOWN
    assert desk.inbox.of("one") == []

    async def is_proved() -> bool:
        return (await desk.adapter.query(send_of())).kind is OutcomeKind.ACCEPTED

    await eventually(is_proved)
    (state,) = await eventually(lambda: desk.inbox.of("one", "order_state"))
    assert state["known"] is False


async def test_absence_proves_nothing_soon_after_a_connection_came_about() -> None:
    async with bench(settle_s=60, absent_again_s=0) as desk:
        await desk.ready()
        for _ in range(3):
            assert (await desk.adapter.query(send_of())).kind is OutcomeKind.UNKNOWN
        assert desk.inbox.of("one") == []


async def test_silence_after_a_send_is_unknown() -> None:
    async with bench(send_timeout_s=0.2) as desk:
        await desk.ready()
        desk.face.on_place["one"] = OnPlace.TAKE_SILENTLY
        assert (await desk.adapter.place(send_of())).kind is OutcomeKind.UNKNOWN
        desk.face.on_place["two"] = OnPlace.INACTIVE
        assert (await desk.adapter.place(send_of("two"))).kind is OutcomeKind.UNKNOWN
        await desk.adapter.query(send_of("two"))
        (state,) = await eventually(lambda: desk.inbox.of("two", "order_state"))
        assert state["status"] == "submitted"


async def test_without_a_connection_nothing_is_sent() -> None:
    async with bench() as desk:
        await desk.ready()
        desk.face.greeting = b""
        await desk.face.drop()
        await eventually(lambda: not desk.adapter.is_ready)
        for call in (desk.adapter.place, desk.adapter.cancel, desk.adapter.query):
            assert (await call(send_of())).kind is OutcomeKind.NOT_SENT


async def test_ids_go_on_above_all_that_exist_after_a_reconnection(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    first = desk.face.book.order("one")
    first.client_id, first.order_id = CLIENT_ID + 1, 40
    await desk.face.drop()
    await eventually(lambda: desk.face.connections == 2)
    await desk.ready()
    assert (await desk.adapter.place(send_of("two"))).kind is OutcomeKind.ACCEPTED
    assert desk.face.book.order("two").order_id == 41


async def test_an_order_of_an_earlier_connection_can_be_canceled(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    await desk.face.drop()
    await eventually(lambda: desk.face.connections == 2)
    await desk.ready()
    assert (await desk.adapter.cancel(send_of())).kind is OutcomeKind.ACCEPTED
    assert desk.face.book.order("one").status == "Cancelled"


async def test_an_order_of_another_client_cannot_be_canceled(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    desk.face.book.order("one").client_id = CLIENT_ID + 1
    await desk.face.drop()
    await eventually(lambda: desk.face.connections == 2)
    await desk.ready()
    assert (await desk.adapter.cancel(send_of())).kind is OutcomeKind.DEFINITE_REJECT
    assert desk.face.received[4] == 0


async def test_what_happened_while_nobody_listened_is_caught_up_once(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    await desk.adapter.place(send_of("two"))
    desk.face.fill("one", "4", "20")
    await eventually(lambda: desk.inbox.fills("one"))
    await desk.face.drop()
    desk.face.book.execute("one", "6", "20.5")
    desk.face.book.order("two").status = "Cancelled"
    await eventually(lambda: "canceled" in desk.inbox.statuses("two"))
    await eventually(lambda: len(desk.inbox.fills("one")) == 2)
    desk.face.repeat(desk.face.book.fills[0])
    await desk.adapter.query(send_of())
    await eventually(lambda: desk.inbox.of("one", "order_state"))
    assert [fill["fill_quantity"] for fill in desk.inbox.fills("one")] == ["4", "6"]


async def test_a_corrected_execution_keeps_its_id_and_is_never_a_new_one(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    fill = desk.face.fill("one", "10", "20")
    desk.face.correct(fill, "19.95")
    first, corrected = await eventually(
        lambda: fills if len(fills := desk.inbox.fills("one")) == 2 else None
    )
    assert first["exec_id"] == corrected["exec_id"]
    assert first["event_id"] != corrected["event_id"]


async def test_while_tws_does_not_reach_the_broker_nothing_is_sent(desk: Bench) -> None:
    await desk.adapter.place(send_of())
    desk.face.notice(1100, "Connectivity between IB and Trader Workstation has been lost.")
    await eventually(lambda: not desk.adapter.is_ready)
    assert (await desk.adapter.place(send_of("two"))).kind is OutcomeKind.NOT_SENT
    desk.face.book.execute("one", "10", "20")
    desk.face.notice(1102, "Connectivity has been restored - data maintained.")
    await desk.ready()
    await eventually(lambda: desk.inbox.fills("one"))
    assert (await desk.adapter.place(send_of("two"))).kind is OutcomeKind.ACCEPTED


SHORT_STATUS = frame(3, 1, "Submitted")
NO_NUMBERS = frame(11, *["x"] * 31)
NAN_FILL = frame(
    *(11, -1, 1, 265598, "AAPL", "STK", "", 0, "", "", "SMART", "USD", "AAPL", "NMS", "e.01"),
    *("20261123-09:30:00", ACCOUNT, "X", "BOT", "nan", 20, 1, 7, 0, 1, 1, "one", "", "", "", 2, 0),
)


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"\x7f\xff\xff\xffABC", id="oversized"),
        pytest.param(b"\x00\x00\x00\x00", id="empty"),
        pytest.param(b"\x00\x00\x00\x04junk", id="garbage"),
        pytest.param(b"\x00\x00\x00\x05\xff\xfe\x00\x80\x00", id="no text"),
        pytest.param(frame(999_999), id="unheard of"),
        pytest.param(SHORT_STATUS, id="short"),
        pytest.param(NO_NUMBERS, id="no numbers"),
        pytest.param(NAN_FILL, id="not a number"),
    ],
)
async def test_a_hostile_frame_ends_the_connection_and_nothing_else(
    desk: Bench, hostile: bytes
) -> None:
    desk.face.say_raw(hostile)
    await eventually(lambda: desk.face.connections == 2)
    await desk.ready()
    assert (await desk.adapter.place(send_of())).kind is OutcomeKind.ACCEPTED
    assert desk.inbox.fills("one") == []


async def test_a_frame_cut_off_by_the_end_of_the_connection_is_forgotten(desk: Bench) -> None:
    desk.face.say_raw(frame(4, 2, -1, 2104, "cut", "")[:-4])
    await asyncio.sleep(0)
    await desk.face.drop()
    await eventually(lambda: desk.face.connections == 2)
    await desk.ready()


@pytest.mark.parametrize("greeting", [b"\x7f\xff\xff\xffHTTP", frame("x", "y"), frame(100, "t")])
async def test_what_greets_unlike_a_tws_is_left_and_tried_again(greeting: bytes) -> None:
    face = TwsFace()
    face.greeting = greeting
    async with bench(face) as desk:
        await eventually(lambda: desk.face.connections >= 2)
        assert not desk.adapter.is_ready
        face.greeting = None
        await desk.ready()


async def test_a_client_id_in_use_is_tried_until_it_is_free(desk: Bench) -> None:
    second = make_adapter(desk.face, desk.inbox)
    second.start()
    try:
        await eventually(lambda: desk.face.connections >= 3)
        assert not second.is_ready
        await desk.adapter.close()
        await eventually(lambda: second.is_ready)
    finally:
        await second.close()


async def test_a_tws_that_stops_answering_is_hung_up_on_and_sent_nothing() -> None:
    async with bench(send_timeout_s=0.2, snapshot_s=0.3, beat_every_s=0.1) as desk:
        await desk.ready()
        desk.face.deaf_to = {99}
        assert (await desk.adapter.place(send_of())).kind is OutcomeKind.NOT_SENT
        assert desk.face.received[3] == 0
        await eventually(lambda: desk.face.connections >= 2)
        desk.face.deaf_to = set()
        await desk.ready()


async def test_what_this_route_cannot_do_is_refused_before_the_wire(desk: Bench) -> None:
    for fields in (
        {"order_type": "trailing", "limit_price": None},
        {"time_in_force": "opg"},
        {"broker_account": "U1000001"},
    ):
        outcome = await desk.adapter.place(send_of(**fields))
        assert outcome.kind is OutcomeKind.DEFINITE_REJECT
    assert (await desk.adapter.place(send_of(broker_account="DU9"))).kind is OutcomeKind.NOT_SENT
    late = send_of(valid_until=datetime.now(UTC) + timedelta(seconds=0.5))
    assert (await desk.adapter.place(late)).kind is OutcomeKind.NOT_SENT
    assert desk.face.received[3] == 0


async def test_a_flood_is_held_back_below_the_limit_of_the_venue(desk: Bench) -> None:
    kinds = [(await desk.adapter.place(send_of(f"n{number}"))).kind for number in range(20)]
    assert set(kinds) == {OutcomeKind.ACCEPTED, OutcomeKind.THROTTLED}
    assert sum(desk.face.received.values()) <= 50


async def test_what_cannot_be_stored_is_stored_later_in_its_order(desk: Bench) -> None:
    desk.inbox.refuses = True
    await desk.adapter.place(send_of())
    desk.face.fill("one", "4", "20")
    desk.face.fill("one", "6", "20")
    await eventually(lambda: desk.inbox.refused >= 2)
    assert desk.inbox.events == []
    desk.inbox.refuses = False
    await eventually(lambda: len(desk.inbox.fills("one")) == 2)
    assert [fill["fill_quantity"] for fill in desk.inbox.fills("one")] == ["4", "6"]


async def test_an_account_is_heard_only_after_everything_was_stored() -> None:
    async with bench() as desk:
        desk.inbox.refuses = True
        await desk.ready()
        await eventually(lambda: desk.inbox.refused)
        assert desk.inbox.heartbeats == 0
        desk.inbox.refuses = False
        await eventually(lambda: desk.inbox.heartbeats)


async def test_an_acknowledgement_needs_no_connection(desk: Bench) -> None:
    before = desk.face.received.total()
    assert (await desk.adapter.acknowledge(ACCOUNT, 3)).kind is OutcomeKind.ACCEPTED
    assert desk.face.received.total() == before
