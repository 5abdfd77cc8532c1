"""Log lines are JSON, carry the request id, and hold no secret."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.core.logging import configure_logging, get_logger

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    line: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_an_event_is_one_json_line_with_the_request_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "api")
    structlog.contextvars.bind_contextvars(request_id="r-1")
    get_logger("here").info("order_placed", order_id=7)
    line = last_line(capsys)
    assert line["event"] == "order_placed"
    assert (line["order_id"], line["request_id"], line["service"]) == (7, "r-1", "api")
    assert str(line["timestamp"]).endswith("Z")


def test_lines_of_libraries_take_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "api")
    structlog.contextvars.bind_contextvars(request_id="r-2")
    logging.getLogger("uvicorn.error").warning("connection %s", "lost")
    line = last_line(capsys)
    assert (line["event"], line["request_id"], line["level"]) == (
        "connection lost",
        "r-2",
        "warning",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "canary"},
        {"app_write_password": "canary"},
        {"headers": {"Cookie": "canary", "Authorization": "canary"}},
        {"worker_token": "canary"},
        {"note": f"the token {TOKEN} was refused".replace("c2lnbmF0dXJl", "canary")},
        {"note": "Authorization: Bearer canary"},
        {"dsn_text": "x", "url": "postgresql://app_write:canary@127.0.0.1/informania"},
        {"items": ["sAccessToken=canary; Path=/"]},
    ],
)
def test_a_secret_is_never_written(
    capsys: pytest.CaptureFixture[str], fields: dict[str, object]
) -> None:
    configure_logging("info", "api")
    get_logger("here").info("something", **fields)
    printed = capsys.readouterr().out
    assert "something" in printed
    assert "canary" not in printed


def test_an_exception_stays_on_one_line_without_its_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "api")
    try:
        raise RuntimeError("postgresql://app_write:canary@host/db is down")
    except RuntimeError:
        get_logger("here").exception("failed")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "RuntimeError" in lines[0]
    assert "canary" not in lines[0]


def test_a_long_text_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "api")
    get_logger("here").info("something", text="x" * 1_000_000)
    assert len(capsys.readouterr().out) < 10_000
