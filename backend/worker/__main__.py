"""Starts the worker: settings, logging, signals, and the parts put together."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence

import uvloop
from pydantic import ValidationError

from app.audits.sinks import SinkError, open_sink
from app.core.logging import configure_logging, get_logger
from app.core.settings import MissingSecret, Settings, get_settings
from app.services.broker import Broker
from app.services.db import Database, create_engine
from app.services.qc_client import QuantConnectBroker
from app.services.qc_executions import ListsExecutions, QuantConnectExecutions
from app.services.quotes import HearsQuotes, QuoteSource, ReplayQuotes

from .bridges import Bridges
from .ib_route import start_interactive_brokers
from .metrics import Metrics, MetricsServer
from .service import SHARDS, Service

log = get_logger("worker")

CLOSE_TIMEOUT_S = 2.0
POOL_SIZE = 2

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78

HELP = """\
Carry orders from the outbox to the brokers, once, and book what the brokers report.

Settings come from the environment and from the files of SECRETS_DIR:
  APP_ENV (required), DATABASE_HOST, DATABASE_PORT, DATABASE_NAME, QC_URL, QC_USER_ID,
  IB_HOST (none: accounts of route ib wait), IB_PORT (7497: a TWS with a paper login),
  IB_CLIENT_ID (1 to 999999, default 11; one worker only, always the same),
  REPLAY_QUOTES_URL (none: no prices of source replay),
  SEND_TIMEOUT_S, SEND_VALID_S, SHARD_LEASE_S, POLL_INTERVAL_MS, QUERY_AFTER_S,
  OPEN_QUERY_AFTER_S, EXECUTIONS_EVERY_S, RECONCILE_EVERY_S,
  NOTIFY_ALLOW_PRIVATE,
  ANCHOR_SINK (folder:/path or git:/path-or-address; none: no anchors), ANCHOR_EVERY_S,
  WORKER_METRICS_HOST, WORKER_METRICS_PORT, LOG_LEVEL;
  secrets app_worker_password, webhook_hmac, qc_token, anchor_key.

Answers GET /metrics and /healthz on WORKER_METRICS_HOST:WORKER_METRICS_PORT.
SIGTERM and SIGINT finish the batch in flight, give the shards back and end with 0;
a second one ends at once, which is safe as well: what was in flight is asked about later.
"""
EXITS = "exit codes: 0 stopped as asked, 1 failed, 2 wrong arguments, 78 wrong configuration"

BrokersFactory = Callable[[Settings, Bridges, Database], dict[str, Broker]]


class ConfigurationError(Exception):
    """The configuration cannot work."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description=HELP,
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--shards-max",
        type=int,
        default=SHARDS,
        choices=range(1, SHARDS + 1),
        metavar=f"1..{SHARDS}",
        help="how many of the shards this worker takes; the rest is left to other workers",
    )
    return parser.parse_args(arguments)


def check_anchoring(settings: Settings) -> None:
    """Refuse a sink that is not served, or one without a key to sign with."""
    if settings.anchor_sink:
        settings.secret("anchor_key")
        try:
            open_sink(settings.anchor_sink)
        except SinkError as error:
            raise ConfigurationError(str(error)) from error


def check_times(settings: Settings) -> None:
    """Refuse time-outs under which a lease would not protect a send."""
    if settings.shard_lease_s < 2 * settings.send_timeout_s:
        raise ConfigurationError(
            f"SHARD_LEASE_S={settings.shard_lease_s:g} is too short: a send may take "
            f"SEND_TIMEOUT_S={settings.send_timeout_s:g} and must end in half a lease; "
            f"set at least {2 * settings.send_timeout_s:g}, better ten times the send time-out."
        )
    if settings.send_valid_s < settings.send_timeout_s:
        raise ConfigurationError(
            f"SEND_VALID_S={settings.send_valid_s:g} is shorter than "
            f"SEND_TIMEOUT_S={settings.send_timeout_s:g}: the far end would refuse what is sent."
        )


def make_brokers(settings: Settings, bridges: Bridges, database: Database) -> dict[str, Broker]:
    """Make one adapter for each route there is; those that keep a connection begin at once."""
    brokers: dict[str, Broker] = {
        "quantconnect": QuantConnectBroker(
            url=settings.qc_url,
            user_id=settings.qc_user_id,
            token=settings.secret("qc_token"),
            webhook_hmac=settings.secret("webhook_hmac"),
            epoch_of=bridges.epoch_of,
            send_timeout_s=settings.send_timeout_s,
        )
    }
    if settings.ib_host:
        brokers["ib"] = start_interactive_brokers(settings, database)
    return brokers


def make_lists(settings: Settings) -> dict[str, ListsExecutions]:
    """Name the venues that list their executions, by route."""
    return {
        "quantconnect": QuantConnectExecutions(
            url=settings.qc_url, user_id=settings.qc_user_id, token=settings.secret("qc_token")
        )
    }


def quote_sources(settings: Settings, brokers: dict[str, Broker]) -> list[QuoteSource]:
    """Name the sources of prices that this worker hears; a bridge's come to the API."""
    sources = [broker.quotes for broker in brokers.values() if isinstance(broker, HearsQuotes)]
    if settings.replay_quotes_url:
        sources.append(ReplayQuotes(settings.replay_quotes_url))
    return sources


async def serve(settings: Settings, *, shards_max: int, brokers_of: BrokersFactory) -> None:
    """Run the worker until a signal ends it."""
    check_times(settings)
    check_anchoring(settings)
    metrics, bridges = Metrics(), Bridges()
    # Few: the role's connections are shared by all workers, and each loop needs one for moments.
    pooled = settings.model_copy(update={"database_pool_size": POOL_SIZE})
    database = Database(create_engine(pooled, "app_worker"))
    brokers = brokers_of(settings, bridges, database)
    sources, lists = quote_sources(settings, brokers), make_lists(settings)
    service = Service(
        settings,
        database=database,
        brokers=brokers,
        bridges=bridges,
        metrics=metrics,
        shards_max=shards_max,
        quotes=sources,
        lists=lists,
    )
    server = MetricsServer(
        metrics,
        service.health,
        host=settings.worker_metrics_host,
        port=settings.worker_metrics_port,
    )
    try:
        await _listen(server, settings.worker_metrics_port)
        log.info("worker_started", pid=os.getpid(), shards_max=shards_max)
        await service.run(_stop_on_signals())
    finally:
        await server.stop()
        # What a broker still has to report goes into the database.
        await _close(*brokers.values(), *lists.values(), *sources, database)


async def _listen(server: MetricsServer, port: int) -> None:
    try:
        await server.start()
    except OSError as error:
        raise ConfigurationError(
            f"WORKER_METRICS_PORT={port} cannot be opened ({error.strerror}): "
            "another worker may be running; stop it or set another port."
        ) from error


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            # Everything that matters is in the database: there is nothing to lose by going now.
            os._exit(EXIT_FAILED)
        log.info("worker_stopping", signal=number.name)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopping


async def _close(*parts: Broker | ListsExecutions | QuoteSource | Database) -> None:
    for part in parts:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await part.close()
        except Exception as error:
            log.warning("close_failed", error=type(error).__name__)


def main(
    arguments: Sequence[str] | None = None, *, brokers_of: BrokersFactory = make_brokers
) -> int:
    """Run the worker and say with which code the process ends."""
    options = parse_arguments(arguments)
    try:
        settings = get_settings()
        configure_logging(settings.log_level, "worker")
        uvloop.run(serve(settings, shards_max=options.shards_max, brokers_of=brokers_of))
    except (ConfigurationError, MissingSecret, ValidationError) as error:
        print(f"worker: {error}", file=sys.stderr)  # noqa: T201 - read before logging is set up
        return EXIT_CONFIG
    except Exception:
        log.exception("worker_failed")
        return EXIT_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
