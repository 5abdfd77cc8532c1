"""The worker's own composition, with a broker that halts the process at one point of a send."""

import os
import signal
import sys

from app.core.settings import Settings
from app.services.broker import Broker, Outcome, Send
from app.services.db import Database
from worker.__main__ import main, make_brokers
from worker.bridges import Bridges


class HeldBroker:
    """Passes on to the real adapter, and stops the process before or after a place."""

    def __init__(self, broker: Broker, point: str) -> None:
        self._broker = broker
        self._point = point

    async def place(self, send: Send) -> Outcome:
        if self._point == "before_send":
            self._halt()
        outcome = await self._broker.place(send)
        if self._point == "after_send":
            self._halt()
        return outcome

    async def cancel(self, send: Send) -> Outcome:
        return await self._broker.cancel(send)

    async def replace(self, send: Send) -> Outcome:
        return await self._broker.replace(send)

    async def query(self, send: Send) -> Outcome:
        return await self._broker.query(send)

    async def acknowledge(self, broker_account: str, sequence: int) -> Outcome:
        return await self._broker.acknowledge(broker_account, sequence)

    async def close(self) -> None:
        await self._broker.close()

    def _halt(self) -> None:
        # The whole process stands still, as under a debugger or a paused virtual machine.
        os.kill(os.getpid(), signal.SIGSTOP)


def brokers_of(settings: Settings, bridges: Bridges, database: Database) -> dict[str, Broker]:
    """Put the halting broker before every adapter."""
    point = os.environ["HOLD"]
    brokers = make_brokers(settings, bridges, database)
    return {route: HeldBroker(broker, point) for route, broker in brokers.items()}


if __name__ == "__main__":
    sys.exit(main([], brokers_of=brokers_of))
