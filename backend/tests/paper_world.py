"""A real paper venue as a process of its own, a receiver of its webhooks, and a signed client."""

import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from free_ports import free_port
from pydantic import ValidationError

from app.models.bridge import BridgeBatch
from app.services.qc_client import auth_headers, moment_text, sign_command

HMAC_KEY, QC_TOKEN, QC_USER = "hmac-of-the-test", "token-of-the-test", "7"
PROJECT = 1001
DEADLINE_S = 20.0
Json = dict[str, Any]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll a condition until it holds, and return what it found."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s")


class Receiver:
    """Takes webhooks by the signature and the model of the API, and keeps their bodies."""

    def __init__(self) -> None:
        self.bodies: list[Json] = []
        self.sizes: list[int] = []
        self.forged = 0
        self.refused: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                raw = self.rfile.read(length)
                if len(raw) < length:
                    return  # The sender was killed amid his request.
                expected = hmac.new(HMAC_KEY.encode(), raw, hashlib.sha256).hexdigest()
                if self.headers["X-Bridge-Signature"] != expected:
                    receiver.forged += 1
                try:
                    BridgeBatch.model_validate_json(raw)
                except ValidationError as error:
                    receiver.refused.append(str(error))
                receiver.sizes.append(len(raw))
                receiver.bodies.append(json.loads(raw))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/webhooks/quantconnect"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert self.forged == 0
        assert self.refused == []

    def deliveries(self, project_id: int = PROJECT) -> list[Json]:
        return [body for body in list(self.bodies) if body["source"] == f"qc:{project_id}"]

    def events(self, client_order_id: str | None = None, project_id: int = PROJECT) -> list[Json]:
        """Events by sequence, each once, however often it was delivered."""
        found: dict[str, Json] = {}
        for body in self.deliveries(project_id):
            for event in body["events"]:
                if found.setdefault(event["event_id"], event) != event:
                    raise AssertionError(f"one event id, two contents: {event}")
        chosen = [
            event for event in found.values() if client_order_id in (None, event["client_order_id"])
        ]
        return sorted(chosen, key=lambda event: int(event["sequence"]))

    def statuses(self, client_order_id: str) -> list[str]:
        events = self.events(client_order_id)
        return [event["status"] for event in events if event["kind"] == "order_event"]


class PaperProcess:
    """`python -m paper` on free ports; `kill` is kill -9, `start` starts it again."""

    def __init__(self, state_dir: Path, receiver: Receiver, **environment: str) -> None:
        self.qc_port, self.test_port = free_port(), free_port()
        secrets = state_dir / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "webhook_hmac").write_text(HMAC_KEY)
        (secrets / "qc_token").write_text(QC_TOKEN)
        self.log_path = state_dir / "paper.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "PAPER_QC_PORT": str(self.qc_port),
            "PAPER_TEST_PORT": str(self.test_port),
            "PAPER_STATE_DIR": str(state_dir / "state"),
            "SECRETS_DIR": str(secrets),
            "WEBHOOK_URL": receiver.url,
            "QC_USER_ID": QC_USER,
            "QC_SNAPSHOT_SECONDS": "0",
            "BRIDGE_INTERVAL_SECONDS": "0.2",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.qc = httpx.Client(base_url=f"http://127.0.0.1:{self.qc_port}/api/v2/")
        self.control = httpx.Client(base_url=f"http://127.0.0.1:{self.test_port}")

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "paper"], env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if (self.control.get("/healthz")).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"paper did not start:\n{self.log_path.read_text()}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self._end(signal.SIGTERM)
        self.qc.close()
        self.control.close()

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(DEADLINE_S)

    def call(self, path: str, body: Json, token: str = QC_TOKEN) -> httpx.Response:
        return self.qc.post(path, json=body, headers=auth_headers(QC_USER, token))

    def send(self, kind: str, project_id: int = PROJECT, **fields: Any) -> Json:
        """Send a command as the worker does; fields given here replace what it would say."""
        command = make_command(kind, **fields)
        answer = self.call("live/commands/create", {"projectId": project_id, "command": command})
        assert answer.json() == {"success": True, "errors": []}
        return command

    def place(self, client_order_id: str, **fields: Any) -> Json:
        return self.send("PlaceOrder", **order_fields(client_order_id, **fields))

    def orders(self, client_order_id: str) -> list[Json]:
        answer = self.control.get(f"/paper/v1/orders/{client_order_id}")
        orders: list[Json] = answer.json()
        return orders

    def hold(self, symbol: str, price: str) -> None:
        answer = self.control.post(f"/paper/v1/market/{symbol}", json={"price": price})
        answer.raise_for_status()

    def fault(self, kind: str, **fields: Any) -> None:
        answer = self.control.post("/paper/v1/faults", json={"kind": kind, **fields})
        assert answer.status_code == 201, answer.text


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def paper(tmp_path: Path, receiver: Receiver) -> Iterator[PaperProcess]:
    paper = PaperProcess(tmp_path, receiver)
    paper.start()
    yield paper
    paper.close()


def order_fields(client_order_id: str, **fields: Any) -> Json:
    return {
        "client_order_id": client_order_id,
        "symbol": "AAPL",
        "side": "buy",
        "order_type": "market",
        "quantity": "10",
        "limit_price": None,
        "stop_price": None,
        "time_in_force": "gtc",
        "expires_at": None,
        **fields,
    }


def make_command(kind: str, key: str = HMAC_KEY, **fields: Any) -> Json:
    now = datetime.now(UTC)
    command: Json = {
        "$type": kind,
        "id": uuid4().hex,
        "version": 1,
        "epoch": 1,
        "sent_at": moment_text(now),
        "valid_until": moment_text(now + timedelta(seconds=30)),
        **fields,
    }
    command["signature"] = sign_command(key, command)
    return command
