"""Workers in processes of their own, which a test may kill or stall, and a venue on a wire."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

import asyncpg
from worker_world import Command, Desk, Venue, eventually

from app.services import sp

BACKEND = Path(__file__).resolve().parents[1]
ACTIONS = {"PlaceOrder": "place", "CancelOrder": "cancel", "QueryOrder": "query"}


class JsonServer:
    """Answers JSON by JSON on a free port of this machine."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self.url = ""

    async def answer(self, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """Say what to answer."""
        raise NotImplementedError

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = _headers(head)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                writer.write(_json_answer(await self.answer(json.loads(body or b"{}"), headers)))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class QcFace(JsonServer):
    """The venue behind QuantConnect's command call."""

    def __init__(self, venue: Venue) -> None:
        super().__init__()
        self._venue = venue

    async def answer(self, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """Take a command, as queued."""
        command, account = body["command"], str(body["projectId"])
        if command["$type"] == "Acknowledge":
            self._venue.acknowledged.append((account, command["sequence"]))
        else:
            action = ACTIONS[command["$type"]]
            order, sender = command["client_order_id"], _user(headers)
            await self._venue.take(Command(action, order, account, sender))
        return {"success": True, "errors": []}


class WebhookFace(JsonServer):
    """Takes a bridge's batches into the database, as the API does."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    async def answer(self, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """Keep the events and the quotes of a batch."""

        async def keep(api: asyncpg.Connection) -> int:
            await sp.record_quotes(api, "quantconnect", body.get("quotes") or [])
            return await sp.inbox_put(
                api,
                source=body["source"],
                deploy_id=body["deploy_id"],
                epoch=body["epoch"],
                events=body["events"],
                heartbeat=body.get("heartbeat"),
            )

        return {"acknowledged": await self._desk.api(keep)}


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode().split("\r\n")[1:]
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _user(headers: dict[str, str]) -> str:
    credentials = headers.get("authorization", "Basic ").removeprefix("Basic ")
    return base64.b64decode(credentials).decode().partition(":")[0]


def _json_answer(answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class WorkerProcess:
    """A worker in a process of its own, which a test may kill or stall."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self.process = process
        self._log_file = log_file

    @classmethod
    async def start(
        cls, desk: Desk, url: str, folder: Path, *, name: str = "1", hold: str = "", **env: str
    ) -> WorkerProcess:
        """Start `python -m worker`, or with `hold` the same composed to stop at a point."""
        argv = ["-m", "worker"] if not hold else [str(Path(__file__).with_name("held_worker.py"))]
        settings = {
            "APP_ENV": "test",
            "SECRETS_DIR": str(desk.database.cluster.secrets_dir),
            "DATABASE_HOST": desk.database.host,
            "DATABASE_PORT": str(desk.database.port),
            "DATABASE_NAME": desk.database.name,
            "QC_URL": url,
            "QC_USER_ID": name,
            "WORKER_METRICS_PORT": "0",
            "POLL_INTERVAL_MS": "50",
            "HOLD": hold,
            "PATH": os.environ["PATH"],
        }
        log_file = folder / f"worker-{name}-{uuid.uuid4().hex[:6]}.log"
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *argv, env=settings | env, cwd=BACKEND, stdout=log, stderr=log
            )
        return cls(process, log_file)

    @property
    def log(self) -> str:
        """What the process has said."""
        return self._log_file.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of an event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    async def has_said(self, text: str) -> None:
        """Wait until the process has logged something."""
        await eventually(lambda: text in self.log or self._ended(text))

    def _ended(self, text: str) -> bool:
        assert self.process.returncode is None, f"ended before saying {text!r}:\n{self.log}"
        return False

    async def has_halted(self) -> None:
        """Wait until the process stands still."""
        await eventually(lambda: self._state() == "T")

    def _state(self) -> str:
        assert self.process.returncode is None, f"ended instead of halting:\n{self.log}"
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    def stall(self) -> None:
        """Stop it with its connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it as an out-of-memory kill does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """End it as the supervisor does, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()
