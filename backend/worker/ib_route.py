"""The route `ib` in this worker: the adapter, and the way of its reports into the inbox."""

from __future__ import annotations

from app.core.settings import Settings
from app.outbox import repo
from app.services.broker import Broker
from app.services.db import Database
from app.services.ibkr_reports import Event, Store
from app.services.poke import INBOX

from .bridges import source_of

ROUTE = "ib"


def start_interactive_brokers(settings: Settings, database: Database) -> Broker:
    """Make the adapter and let it connect."""
    # Only who uses it pays for it: its library takes most of a second to load.
    from app.services.ibkr_adapter import InteractiveBrokersBroker  # noqa: PLC0415

    deploy_id = f"{settings.ib_host}:{settings.ib_port}/{settings.ib_client_id}"
    broker = InteractiveBrokersBroker(
        host=settings.ib_host,
        port=settings.ib_port,
        client_id=settings.ib_client_id,
        store=inbox_of(database, deploy_id),
        send_timeout_s=settings.send_timeout_s,
    )
    broker.start()
    return broker


def inbox_of(database: Database, deploy_id: str) -> Store:
    """Make the way into the inbox; what it has taken is stored."""

    async def store(broker_account: str, events: list[Event], heartbeat: Event | None) -> None:
        async with database.transaction() as connection:
            await repo.inbox_report(
                connection,
                source=source_of(ROUTE, broker_account),
                deploy_id=deploy_id[-100:],
                events=events,
                heartbeat=heartbeat,
            )
        if events:
            database.notify_poke(INBOX)

    return store
