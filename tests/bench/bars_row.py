"""Bars through the API's own route, as Arrow and as JSON, against COPY into the same table.

The application runs in this process, so that what is measured is its work and the database's. COPY
runs as superuser: for the owner row security, which is forced, forbids it.
"""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from time import perf_counter

import httpx
import psycopg
import pyarrow as pa
import uvloop
from bench.bench_cluster import DATABASE, superuser
from fixtures_postgres import Cluster

from app.core.settings import load_settings
from app.main import create_app

ROWS = 30_000
START = datetime(2025, 1, 1, tzinfo=UTC)
PRICES = ("open", "high", "low", "close", "volume")
ORIGIN = "http://localhost:8080"
COPY = (
    "COPY market.bars (instrument_id, resolution, bar_at, open, high, low, close, volume, source)"
    " FROM STDIN (FORMAT csv)"
)

Once = Callable[[], object]


def arrow_against_copy(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Rows a second of a stream of Arrow through the API, and of COPY."""
    with superuser(cluster) as connection:
        text = _csv(connection.execute("SELECT min(instrument_id) FROM app.instruments").fetchone())
        connection.commit()

        def copied() -> None:
            with connection.cursor().copy(COPY) as copy:
                copy.write(text)
            connection.commit()

        return _by_api(cluster, seconds, _arrow()), _rows_a_second(cluster, seconds, copied)


def json_against_arrow(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Rows a second of JSON through the API, and of a stream of Arrow."""
    return _by_api(cluster, seconds, _json()), _by_api(cluster, seconds, _arrow())


def _by_api(cluster: Cluster, seconds: float, body: tuple[str, bytes]) -> float:
    settings = load_settings(
        app_env="test", public_url=ORIGIN, secrets_dir=cluster.secrets_dir, api_role="api",
        database_host=cluster.host, database_port=cluster.port, database_name=DATABASE,
        log_level="warning",
    )  # fmt: skip
    app = create_app(settings)
    media_type, content = body
    headers = {
        "Content-Type": media_type,
        "Origin": ORIGIN,
        "rid": "anti-csrf",
        "Authorization": f"Bearer {settings.secret('worker_token')}",
    }
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=ORIGIN, headers=headers, timeout=60
        )

        def sent() -> None:
            request = client.post("/api/data/bars?source=bench", content=content)
            answer = runner.run(request)
            if answer.status_code != 200 or answer.json()["inserted"] != ROWS:
                raise RuntimeError(answer.text)

        try:
            return _rows_a_second(cluster, seconds, sent)
        finally:
            runner.run(client.aclose())
            runner.run(app.state.database.close())


def _rows_a_second(cluster: Cluster, seconds: float, once: Once) -> float:
    """Write the same rows into an emptied table again and again; only the writing is counted."""
    rows, spent = 0, 0.0
    while spent < seconds:
        with superuser(cluster, autocommit=True) as connection:
            _emptied(connection)
        begun = perf_counter()
        once()
        spent += perf_counter() - begun
        rows += ROWS
    return rows / spent


def _emptied(connection: psycopg.Connection) -> None:
    connection.execute("TRUNCATE market.bars")
    connection.execute("CHECKPOINT")


@cache
def _bars() -> list[dict[str, str]]:
    """A month of minutes, with prices of two decimals."""
    bars = []
    for number in range(ROWS):
        price = Decimal(10_000 + number * 7919 % 5_000) / 100
        cells = (price, price + 1, price - 1, price + Decimal("0.25"), number % 9_000)
        at = (START + timedelta(minutes=number)).isoformat().replace("+00:00", "Z")
        prices = dict(zip(PRICES, map(str, cells), strict=True))
        bars.append({"symbol": "AAPL", "resolution": "1m", "bar_at": at, **prices})
    return bars


@cache
def _arrow() -> tuple[str, bytes]:
    columns = {
        "symbol": pa.array([bar["symbol"] for bar in _bars()]),
        "resolution": pa.array([bar["resolution"] for bar in _bars()]),
        "bar_at": pa.array(
            [datetime.fromisoformat(bar["bar_at"]) for bar in _bars()], pa.timestamp("us", "UTC")
        ),
    }
    for name in PRICES:
        cells = [Decimal(bar[name]) for bar in _bars()]
        columns[name] = pa.array(cells, pa.decimal128(20, 8))
    sink = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return "application/vnd.apache.arrow.stream", sink.getvalue()


@cache
def _json() -> tuple[str, bytes]:
    body = json.dumps({"bars": _bars()}, separators=(",", ":")).encode()
    return "application/json", body


def _csv(row: tuple[int, ...] | None) -> str:
    if row is None:
        raise RuntimeError("the bench has no instrument")
    sink = io.StringIO()
    writer = csv.writer(sink)
    for bar in _bars():
        prices = [bar[name] for name in PRICES]
        writer.writerow([row[0], bar["resolution"], bar["bar_at"], *prices, "bench"])
    return sink.getvalue()
