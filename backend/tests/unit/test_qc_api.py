"""What is repeated when in doubt and what never is, against a real socket that answers as told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.services import qc_api
from app.services.qc_api import (
    ENDPOINTS,
    QuantConnectApi,
    QuantConnectAuthFailed,
    QuantConnectRefused,
    QuantConnectUnclear,
    QuantConnectUnreached,
)

OK = b'{"success": true, "errors": [], "projects": []}'
CREATE = {"name": "n", "language": "Py"}


class Wire:
    """Answers one request after the other as it was told, the last answer for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = [(200, OK)]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wire.asked.append((self.path.removeprefix("/api/v2/"), json.loads(body)))
                status, answer = wire.answers[0]
                if len(wire.answers) > 1:
                    wire.answers.pop(0)
                if status == 0:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("Retry-After", "0")
                self.send_header("Location", f"http://127.0.0.1:{wire.port}/api/v2/elsewhere")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setattr(qc_api, "RETRY_S", (0.0, 0.0, 0.0))
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def api(wire: Wire) -> Iterator[QuantConnectApi]:
    api = QuantConnectApi(url=f"http://127.0.0.1:{wire.port}/api/v2", user_id="7", token="t")
    yield api
    api.close()


DOUBTS = [(503, b""), (502, b"<html>"), (0, b""), (200, b"{"), (302, b""), (500, OK)]


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_read_is_repeated_until_it_is_answered(
    wire: Wire, api: QuantConnectApi, doubt: tuple[int, bytes]
) -> None:
    wire.answers = [doubt, doubt, (200, OK)]
    assert api.call("projects/read")["projects"] == []
    assert [path for path, _ in wire.asked] == ["projects/read"] * 3


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_would_be_done_twice_is_sent_once_and_its_doubt_is_told(
    wire: Wire, api: QuantConnectApi, doubt: tuple[int, bytes]
) -> None:
    wire.answers = [doubt, (200, OK)]
    with pytest.raises(QuantConnectUnclear):
        api.call("projects/create", **CREATE)
    assert len(wire.asked) == 1


def test_a_doubt_that_does_not_end_is_told_after_four_attempts(
    wire: Wire, api: QuantConnectApi
) -> None:
    wire.answers = [(503, b"")]
    with pytest.raises(QuantConnectUnclear, match="projects/read"):
        api.call("projects/read")
    assert len(wire.asked) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, b'{"success": false, "errors": ["No such project"]}'), QuantConnectRefused),
        ((401, b""), QuantConnectAuthFailed),
        ((200, b'{"success": false, "errors": ["UserID not valid"]}'), QuantConnectAuthFailed),
        ((429, b""), QuantConnectRefused),
    ],
)
def test_a_clear_answer_is_believed(
    wire: Wire, api: QuantConnectApi, answer: tuple[int, bytes], error: type[Exception]
) -> None:
    wire.answers = [answer]
    with pytest.raises(error):
        api.call("projects/create", **CREATE)
    # A throttled call was not done, so it may be tried again.
    assert len(wire.asked) == (4 if answer[0] == 429 else 1)


def test_an_answer_without_end_is_cut_off(
    wire: Wire, api: QuantConnectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qc_api, "ANSWER_MAX", 100)
    wire.answers = [(200, b'{"success": true, "errors": ["' + b"x" * 1000 + b'"]}')]
    with pytest.raises(QuantConnectUnclear, match="too large"):
        api.call("projects/create", **CREATE)


def test_what_is_not_reached_was_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qc_api, "RETRY_S", (0.0,))
    api = QuantConnectApi(url="http://127.0.0.1:9/api/v2/", user_id="7", token="t")
    with pytest.raises(QuantConnectUnreached):
        api.call("projects/create", **CREATE)
    api.close()


def test_a_call_that_lacks_something_does_not_leave(wire: Wire, api: QuantConnectApi) -> None:
    with pytest.raises(ValueError, match="nodeId"):
        api.call("live/create", projectId=1, compileId="c")
    with pytest.raises(KeyError):
        api.call("live/explode", projectId=1)
    assert wire.asked == []


def test_pages_are_read_to_the_end(wire: Wire, api: QuantConnectApi) -> None:
    rows = [{"success": True, "logs": part, "length": 5} for part in ([1, 2], [3, 4], [5])]
    wire.answers = [(200, json.dumps(it).encode()) for it in rows]
    named = {"projectId": 1, "algorithmId": "L", "format": "json"}
    pages = api.pages("live/logs/read", "logs", size=2, start="startLine", end="endLine", **named)
    assert [*pages] == [1, 2, 3, 4, 5]
    assert [(it["startLine"], it["endLine"]) for _, it in wire.asked] == [(0, 2), (2, 4), (4, 6)]


def test_whatever_trades_or_deploys_is_never_repeated_by_itself() -> None:
    once = {name for name, it in ENDPOINTS.items() if not it.repeatable}
    assert once >= {"live/create", "live/commands/create", "live/commands/broadcast"}
