"""What the tests of bars and quotes share: rows, and the three ways to send them."""

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pyarrow as pa
from api_world import World

START = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
ARROW = "application/vnd.apache.arrow.stream"
NDJSON = "application/x-ndjson"
Row = dict[str, Any]

PRICES = ("open", "high", "low", "close", "volume")
BAR_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("resolution", pa.string()),
        ("bar_at", pa.timestamp("us", "UTC")),
        *((name, pa.decimal128(20, 8)) for name in PRICES),
    ]
)
QUOTE_SCHEMA = pa.schema(
    [("symbol", pa.string()), ("at", pa.timestamp("us", "UTC")), ("price", pa.decimal128(20, 8))]
)


def bar(minute: int = 0, **changes: Any) -> Row:
    """Return a bar of a minute of AAPL."""
    at = (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
    row = {"symbol": "AAPL", "resolution": "1m", "bar_at": at}
    prices = {"open": "10.5", "high": "11", "low": "10", "close": "10.25", "volume": "1200"}
    return {name: it for name, it in {**row, **prices, **changes}.items() if it is not ...}


def quote(seconds_ago: float = 0, **changes: Any) -> Row:
    """Return a quote of AAPL."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return {"symbol": "AAPL", "price": "20.5", "at": at.isoformat(), **changes}


def stream(rows: list[Row], schema: pa.Schema = BAR_SCHEMA, **options: Any) -> bytes:
    """Write rows of JSON as a stream of Arrow."""
    columns = []
    for field in schema:
        cells = [row[field.name] for row in rows]
        if pa.types.is_timestamp(field.type):
            cells = [datetime.fromisoformat(cell) for cell in cells]
        if pa.types.is_decimal(field.type):
            cells = [Decimal(cell) for cell in cells]
        columns.append(pa.array(cells, field.type))
    return written(pa.record_batch(columns, schema=schema), **options)


def written(batch: pa.RecordBatch, **options: Any) -> bytes:
    """Write one batch as a stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_batch(batch)
    return sink.getvalue()


def lines(rows: list[Row]) -> bytes:
    """Write rows as lines of JSON."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Sender:
    """Our own worker, sending rows."""

    def __init__(self, world: World) -> None:
        self.client = world.client()
        token = world.secret("worker_token")
        self.client.headers["Authorization"] = f"Bearer {token}"

    async def send(
        self,
        kind: str,
        body: bytes,
        media_type: str = "application/json",
        *,
        source: str = "replay",
        **headers: str,
    ) -> httpx.Response:
        """Post a body."""
        return await self.client.post(
            f"/api/data/{kind}",
            params={"source": source},
            content=body,
            headers={"Content-Type": media_type, **headers},
        )

    async def bars(self, *rows: Row, source: str = "vendor") -> httpx.Response:
        """Post bars as JSON."""
        return await self.send("bars", json.dumps({"bars": rows}).encode(), source=source)

    async def quotes(self, *rows: Row) -> httpx.Response:
        """Post quotes as JSON."""
        return await self.send("quotes", json.dumps({"quotes": rows}).encode())


async def stored(world: World) -> list[asyncpg.Record]:
    """Return every bar."""
    return await world.rows(
        "SELECT resolution, bar_at, open, high, low, close, volume, source FROM market.bars"
        " ORDER BY resolution, bar_at"
    )


def counts(answer: httpx.Response) -> tuple[int, int, int, int]:
    """Return received, inserted, unchanged, replaced of a good answer."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["received"], body["inserted"], body["unchanged"], body["replaced"]


def place(answer: httpx.Response, status: int = 422) -> tuple[str, list[Any], str]:
    """Return code, place and kind of the first fault of a problem."""
    assert answer.status_code == status, answer.text
    problem = answer.json()
    return problem["code"], problem["errors"][0]["loc"], problem["errors"][0]["type"]
