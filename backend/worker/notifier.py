"""Tells people what they asked to be told, at least once, and never in the way of an order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence

from app.core.logging import get_logger
from app.core.settings import Settings
from app.outbox import notifications
from app.outbox.notifications import Due
from app.services.db import Database
from app.services.notify_addresses import Sealer

from .lanes import Lanes
from .messages import body_of, title_of
from .metrics import Metrics
from .reconcilers import leads

log = get_logger(__name__)

CHANNELS_A_STEP = 32
# A courier that takes longer is killed; what it had not told counts as failed.
COURIER_S = 30.0
LEASE_S = 2 * COURIER_S
UNTOLD = "timeout"
# All that the courier knows of this process.
PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Notifier:
    """Takes the channels that are due, sends a courier, and records how it ended.

    Taking and recording are transactions of their own: whoever is killed in between leaves a lease
    that ends, and then the message goes again. Only the owner of shard 0 does it.
    """

    def __init__(
        self, database: Database, lanes: Lanes, metrics: Metrics, *, settings: Settings
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._sealer = Sealer(settings.secret("webhook_hmac"))
        self._allow_private = settings.notify_allow_private

    async def step(self) -> bool:
        """Deliver what is due; asks to go on while there was as much as it takes at once."""
        if not leads(self._lanes):
            return False
        async with self._database.transaction() as connection:
            due = await notifications.claim(connection, limit=CHANNELS_A_STEP, lease_s=LEASE_S)
            backlog = await notifications.backlog(connection)
        self._metrics.notify_pending.set(backlog.pending)
        self._metrics.notify_oldest_s.set(backlog.oldest_s)
        self._metrics.notify_dead.set(backlog.dead)
        if due:
            await self._deliver(due)
        return len(due) == CHANNELS_A_STEP

    async def _deliver(self, due: Sequence[Due]) -> None:
        urls = {one.channel_id: self._sealer.open(one.sealed) for one in due}
        messages = [
            {
                "channel_id": one.channel_id,
                "url": urls[one.channel_id],
                "title": title_of(one.events),
                "body": body_of(one.events),
            }
            for one in due
            if urls[one.channel_id] is not None
        ]
        told = await send_courier(messages, allow_private=self._allow_private)
        for one in due:
            unreadable = urls[one.channel_id] is None
            error = "address_unreadable" if unreadable else told.get(one.channel_id, UNTOLD)
            async with self._database.transaction() as connection:
                ended = await notifications.finish(connection, one, error)
            self._metrics.notified.labels(ended).inc()
            say = log.info if ended == "sent" else log.warning
            say("notified", channel_id=one.channel_id, events=len(one.events), ended=ended,
                error=error)  # fmt: skip


async def send_courier(
    messages: Sequence[Mapping[str, object]], *, allow_private: bool, timeout_s: float = COURIER_S
) -> dict[int, str | None]:
    """Have messages carried by a process of their own; what became of those it has told of."""
    if not messages:
        return {}
    flags = ["--allow-private"] if allow_private else []
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker.courier", *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    told: dict[int, str | None] = {}
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    try:
        async with asyncio.timeout(timeout_s):
            if process.stdin is not None and process.stdout is not None:
                await asyncio.gather(
                    _write(process.stdin, lines.encode()), _read(process.stdout, told)
                )
    except TimeoutError:
        log.warning("courier_too_slow", messages=len(messages), told=len(told))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return told


async def _write(stdin: asyncio.StreamWriter, lines: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        stdin.write(lines)
        await stdin.drain()
    stdin.close()


async def _read(stdout: asyncio.StreamReader, told: dict[int, str | None]) -> None:
    async for line in stdout:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            result = json.loads(line)
            told[int(result["channel_id"])] = result["error"]
