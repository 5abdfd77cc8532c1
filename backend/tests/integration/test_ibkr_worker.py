"""An account of route `ib` through the whole way: procedure, outbox, worker, wire, inbox, books."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import Database as FreshDatabase
from ibkr_world import CLIENT_ID, QUICK, IbDesk
from tws_face import ACCOUNT, OnPlace, TwsFace
from worker_world import eventually

from app.core.errors import SourceUnknown
from app.outbox import repo
from app.services import sp
from app.services.db import Database, create_engine
from app.services.ibkr_adapter import InteractiveBrokersBroker
from worker.__main__ import make_brokers
from worker.bridges import Bridges
from worker.ib_route import inbox_of
from worker.metrics import Metrics
from worker.service import Service


@pytest.fixture
async def desk(database: FreshDatabase) -> IbDesk:
    """A desk at Interactive Brokers."""
    desk = IbDesk(database)
    await desk.open()
    return desk


@asynccontextmanager
async def trading(desk: IbDesk, face: TwsFace, **overrides: Any) -> AsyncIterator[None]:
    """Run a worker before the face."""
    settings = desk.settings(query_after_s=0.2, **overrides)
    database = Database(create_engine(settings, "app_worker"))
    bridges, stopping = Bridges(), asyncio.Event()
    async with face.listening():
        adapter = InteractiveBrokersBroker(
            host="127.0.0.1",
            port=face.port,
            client_id=CLIENT_ID,
            store=inbox_of(database, "test"),
            send_timeout_s=settings.send_timeout_s,
            patience=QUICK,
        )
        service = Service(
            settings,
            database=database,
            brokers={"ib": adapter},
            bridges=bridges,
            metrics=Metrics(),
        )
        adapter.start()
        task = asyncio.create_task(service.run(stopping))
        try:
            yield
            stopping.set()
            await asyncio.wait_for(task, 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await adapter.close()
            await database.close()


async def test_an_order_is_sent_filled_and_booked_once(desk: IbDesk) -> None:
    face = TwsFace()
    order = await desk.place(desk.account_id)
    face.on_place[order] = OnPlace.FILL
    async with trading(desk, face):
        await eventually(lambda: desk.is_status(order, "filled"))
        face.repeat(face.book.fills[0])
        await face.drop()
        await eventually(lambda: face.connections == 2)
        await eventually(desk.outbox_is_empty)
    assert len(face.book.orders) == 1
    assert await desk.books(order) == (Decimal(10), Decimal(1), 1)


@pytest.mark.parametrize("behavior", [OnPlace.TAKE_AND_DROP, OnPlace.DROP])
async def test_an_order_whose_connection_breaks_is_at_the_venue_once(
    desk: IbDesk, behavior: OnPlace
) -> None:
    face = TwsFace()
    order = await desk.place(desk.account_id)
    face.on_place[order] = behavior
    async with trading(desk, face, send_timeout_s=0.5, send_valid_s=1.5):
        await eventually(lambda: face.received[3])
        face.on_place[order] = OnPlace.ACCEPT
        await eventually(lambda: desk.is_status(order, "accepted"))
        await eventually(desk.outbox_is_empty)
        face.fill(order, "4", "19.5")
        await eventually(lambda: desk.is_status(order, "partially_filled"))
        assert await desk.cancel(order) == "pending_cancel"
        await desk.poke()
        await eventually(lambda: desk.is_status(order, "canceled"))
    assert len(face.book.orders) == 1
    assert await desk.books(order) == (Decimal(4), Decimal(1), 1)


async def test_a_corrected_execution_is_booked_as_a_correction(desk: IbDesk) -> None:
    face = TwsFace()
    order = await desk.place(desk.account_id)
    async with trading(desk, face):
        await eventually(lambda: desk.is_status(order, "accepted"))
        face.correct(face.fill(order, "10", "19.5"), "19.4")
        await eventually(
            lambda: desk.value("SELECT count(*) = 1 FROM app.executions WHERE kind = 'correction'")
        )
    assert await desk.value("SELECT average_price FROM app.orders") == Decimal("19.4")
    assert await desk.value("SELECT cum_quantity FROM app.orders") == 10


async def test_a_rejection_ends_the_order_with_the_venues_words(desk: IbDesk) -> None:
    face = TwsFace()
    order = await desk.place(desk.account_id)
    face.on_place[order] = OnPlace.REJECT
    async with trading(desk, face):
        await eventually(lambda: desk.is_status(order, "rejected"))
    reason = await desk.value("SELECT reason_code FROM app.orders")
    assert reason == "IB 201: Order rejected - reason:no margin"


async def test_a_worker_without_the_route_sends_nothing_and_says_why(desk: IbDesk) -> None:
    order = await desk.place(desk.account_id)
    settings = desk.settings()
    database = Database(create_engine(settings, "app_worker"))
    bridges, stopping = Bridges(), asyncio.Event()
    await inbox_of(database, "test")(ACCOUNT, [], {})
    brokers = make_brokers(settings, bridges, database)
    assert set(brokers) == {"quantconnect"}
    service = Service(
        settings, database=database, brokers=brokers, bridges=bridges, metrics=Metrics()
    )
    task = asyncio.create_task(service.run(stopping))
    try:
        why = await eventually(lambda: desk.value("SELECT last_error FROM app.outbox_parked"))
    finally:
        stopping.set()
        await asyncio.wait_for(task, 20)
        await database.close()
    assert why == "not_sent: no_adapter_for_route_ib"
    assert await desk.status(order) == "submitting"


async def test_the_worker_of_a_setting_connects_by_itself(desk: IbDesk) -> None:
    face = TwsFace()
    async with face.listening():
        settings = desk.settings(ib_host="127.0.0.1", ib_port=face.port)
        database = Database(create_engine(settings, "app_worker"))
        brokers = make_brokers(settings, Bridges(), database)
        try:
            source = "SELECT source FROM app.bridges"
            assert await eventually(lambda: desk.value(source)) == f"ib:{ACCOUNT}"
        finally:
            for broker in brokers.values():
                await broker.close()
            await database.close()


async def test_neither_webhook_nor_worker_speaks_for_the_other(desk: IbDesk) -> None:
    empty: dict[str, Any] = {"deploy_id": "L", "events": [], "heartbeat": {}}
    with pytest.raises(SourceUnknown):
        await desk.api(lambda api: sp.inbox_put(api, source=f"ib:{ACCOUNT}", epoch=1, **empty))
    owner = await desk.database.connect("app_migrate")
    await owner.execute(
        "SELECT app.sp_account_upsert('system:seed', 'QC', 'USD', 'quantconnect', '1', TRUE)"
    )
    worker = await desk.database.connect("app_worker")
    with pytest.raises(asyncpg.PostgresError, match="no account reports from here"):
        await repo.inbox_report(worker, source="qc:1", **empty)
    await repo.inbox_report(worker, source=f"ib:{ACCOUNT}", **empty)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await sp.inbox_put(worker, source=f"ib:{ACCOUNT}", epoch=1, **empty)
