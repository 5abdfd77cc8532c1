"""The real Caddy, told of two screens and of an Ingress, keeps each session on one of them."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from free_ports import free_port
from k8s.rendered import ROOT

CADDYFILE = ROOT / "ops/reverse-proxy/caddy/Caddyfile"
SESSIONS = 24


def _handler(name: str) -> type[BaseHTTPRequestHandler]:
    class Face(BaseHTTPRequestHandler):
        """Answers with its name; the gate states the session that the cookie names."""

        def do_GET(self) -> None:
            body = name.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if self.path == "/auth/verify":
                self.send_header("X-Session-Handle", self.headers["Cookie"])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    return Face


@contextmanager
def face(name: str) -> Iterator[int]:
    """Serve on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(name))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(port: int, number: int) -> str:
    """Return which screen answers a session, whose address the Ingress tells."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Host": f"localhost:{port}", "X-Forwarded-For": f"203.0.113.{number}"}
        headers["Cookie"] = f"session-{number}"
        connection.request("GET", "/", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return answer.read().decode()
    finally:
        connection.close()


def await_listener(port: int) -> None:
    """Return once somebody listens."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "Caddy does not listen"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def door(tmp_path: Path) -> Iterator[int]:
    """Run Caddy before a gate and two screens."""
    with ExitStack() as stack:
        api, one, two = (stack.enter_context(face(name)) for name in ("api", "one", "two"))
        port = free_port()
        home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        environ = {
            "CADDY_ADMIN": "off",
            "HTTP_PORT": str(port),
            "PUBLIC_URL": f"http://localhost:{port}",
            "SITE_ADDRESS": f"http://localhost:{port}",
            "API_UPSTREAM": f"127.0.0.1:{api}",
            "STREAMLIT_UPSTREAM": f"127.0.0.1:{one} 127.0.0.1:{two}",
            "PROXY_SECRET": "x" * 32,
            "TRUSTED_PROXIES": "private_ranges",
        }
        program = Path(sys.executable).with_name("caddyserver")
        command = [str(program), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
        caddy = subprocess.Popen(command, env={**home, **environ}, stderr=subprocess.DEVNULL)
        try:
            await_listener(port)
            yield port
        finally:
            caddy.send_signal(signal.SIGTERM)
            caddy.wait(20)


def test_a_session_stays_with_its_screen_and_all_screens_are_used(door: int) -> None:
    """No proxy remembers anything: whichever one is asked comes to the same screen."""
    first = {number: ask(door, number) for number in range(SESSIONS)}
    assert set(first.values()) == {"one", "two"}
    assert {number: ask(door, number) for number in first for _ in range(3)} == first
