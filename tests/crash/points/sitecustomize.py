"""Kill points: loaded into every process of a crash run by Python itself, never by the product.

The harness puts this folder on PYTHONPATH. While the file CRASH_ARMED exists, a process that passes
one of the points below ends itself by SIGKILL with the probability CRASH_PROBABILITY, drawn from a
generator seeded by CRASH_SEED and the count of starts so far. CRASH_POINTS, when set, names the
only points that count. A point that fired is appended to CRASH_LOG. The services are kept warm
(keeper.py), except for the deaths of which CRASH_COLD is the share.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import Any

# module -> (attribute path, name of the point before, name of the point after); "" means none.
POINTS: dict[str, list[tuple[str, str, str]]] = {
    "app.services.sp": [
        ("place_order", "api:recv", "api:before_commit"),
        ("cancel_order", "api:cancel_recv", "api:cancel_before_commit"),
        ("inbox_put", "api:webhook_recv", "api:webhook_before_commit"),
    ],
    "app.services.sp_orders": [("place_batch", "api:recv", "api:before_commit")],
    "app.services.db": [("Database.notify_poke", "api:after_commit", "")],
    "uvicorn.protocols.http.h11_impl": [("RequestResponseCycle.send", "", "api:after_reply")],
    "uvicorn.protocols.http.httptools_impl": [("RequestResponseCycle.send", "", "api:after_reply")],
    "worker.consumer": [
        ("Sender._attempt", "worker:after_claim", ""),
        ("Sender._finish", "", "worker:after_mark"),
    ],
    "app.outbox.repo": [
        ("begin_sends", "", "worker:claim_before_commit"),
        ("finish_sends", "worker:before_mark", "worker:before_mark_commit"),
        ("apply_broker_events", "worker:before_fill", "worker:mid_fill"),
    ],
    "app.services.qc_client": [
        ("QuantConnectBroker.place", "worker:before_send", "worker:after_send"),
        ("QuantConnectBroker.query", "worker:before_query", "worker:after_query"),
    ],
    "paper.engine": [("Deployment.enqueue", "broker:recv", "broker:queued")],
    "paper.venue": [("Venue.place", "broker:before_accept", "broker:after_accept")],
    "paper.journal": [("Journal.sync", "broker:before_journal", "broker:after_journal")],
}

# What the negative control breaks: the worker sends again what it should ask for.
BLIND = "app.outbox.repo"


class Dice:
    """A generator of this process's own, different in every life of it, the same in a replay."""

    def __init__(self) -> None:
        self.pid = 0
        self.generator = random.Random()

    def roll(self) -> float:
        if self.pid != os.getpid():
            self.pid = os.getpid()
            with open(os.environ["CRASH_LOG"] + ".starts", "a") as starts:
                starts.write(".")
                self.generator = random.Random(f"{os.environ['CRASH_SEED']}:{starts.tell()}")
        return self.generator.random()


def pass_point(name: str, dice: Dice) -> None:
    if (
        not name
        or name not in os.environ.get("CRASH_POINTS", name)
        or not os.path.exists(os.environ["CRASH_ARMED"])
    ):
        return
    if dice.roll() < float(os.environ["CRASH_PROBABILITY"]):
        with open(os.environ["CRASH_LOG"], "a") as log:
            log.write(name + "\n")
        os.kill(os.getpid(), signal.SIGKILL)


def wrapped(call: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    """The same call with a kill point on either side."""
    dice = Dice()

    if not is_async(call):

        @functools.wraps(call)
        def plain(*args: Any, **kwargs: Any) -> Any:
            pass_point(before, dice)
            result = call(*args, **kwargs)
            pass_point(after, dice)
            return result

        return plain

    @functools.wraps(call)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        if counts(before, None, *args, **kwargs):
            pass_point(before, dice)
        result = await call(*args, **kwargs)
        if counts(after, result, *args, **kwargs):
            pass_point(after, dice)
        return result

    return awaited


def counts(name: str, result: Any, *args: Any, **kwargs: Any) -> bool:
    """Say whether a point counts this time."""
    when = WHEN.get(name)
    return when is None or when(result, *args, **kwargs)


def claimed_any(result: Any, *_: Any, **__: Any) -> bool:
    """Say whether there was anything to claim; the worker looks four times a second."""
    return bool(result)


def reports_any(*_: Any, events: Sequence[Any], **__: Any) -> bool:
    """Say whether a bridge reports anything; their heartbeats come every second anyway."""
    return bool(events)


def answers_an_order(_: Any, cycle: Any, *__: Any, **___: Any) -> bool:
    """Say whether uvicorn has just sent the end of an answer about an order."""
    scope = cycle.scope
    is_order = scope["method"] == "POST" and scope["path"].startswith("/api/orders")
    return bool(is_order and cycle.response_complete)


# Points that count only now and then.
WHEN: dict[str, Callable[..., bool]] = {
    "worker:claim_before_commit": claimed_any,
    "api:webhook_recv": reports_any,
    "api:webhook_before_commit": reports_any,
    "api:after_reply": answers_an_order,
}


def is_async(call: Callable[..., Any]) -> bool:
    return bool(call.__code__.co_flags & 0x80)  # inspect.CO_COROUTINE, without importing inspect


def send_blindly(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The negative control: what has an unknown outcome is sent again instead of asked for."""

    @functools.wraps(call)
    async def blind(*args: Any, **kwargs: Any) -> Any:
        import dataclasses  # noqa: PLC0415  # only in the control's worker

        return [
            dataclasses.replace(send, action="place")
            if send.action == "query" and send.kind == "order.place.v1"
            else send
            for send in await call(*args, **kwargs)
        ]

    return blind


def instrument(module: ModuleType) -> None:
    for path, before, after in POINTS[module.__name__]:
        *owners, name = path.split(".")
        owner: Any = module
        for part in owners:
            owner = getattr(owner, part)
        call = getattr(owner, name)
        if module.__name__ == BLIND and name == "begin_sends" and os.environ.get("CRASH_BLIND"):
            call = send_blindly(call)
        setattr(owner, name, wrapped(call, before, after))


class Loader(importlib.abc.Loader):
    """Runs the module's own loader, then puts the kill points in."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        instrument(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that have points, by the finders that would have found them anyway."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in POINTS:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = Loader(spec.loader)
                return spec
        return None


if "CRASH_SEED" in os.environ:
    sys.meta_path.insert(0, Finder())
    import keeper

    keeper.keep()
