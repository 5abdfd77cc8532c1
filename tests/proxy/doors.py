"""Starts either proxy as it is shipped, and asks it byte by byte."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from free_ports import free_port
from proxy.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]
CADDYFILE = ROOT / "ops/reverse-proxy/caddy/Caddyfile"
NGINX_DIR = ROOT / "ops/reverse-proxy/nginx"
CADDY = Path(sys.executable).with_name("caddyserver")
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECRET = "the-secret-of-the-proxy"
TIMEOUT_S = 15


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a header that must not be there twice."""
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    @property
    def reached(self) -> str | None:
        """The upstream that answered, if it was not the proxy itself."""
        return self.said["upstream"] if b'"upstream"' in self.body else None

    def sent_on(self, name: str) -> list[str]:
        """The values of a header as they reached the upstream."""
        return [value for key, value in self.said["headers"] if key == name.lower()]


@dataclass
class Door:
    """One running proxy."""

    kind: str
    folder: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.env["HTTP_PORT"])

    @property
    def url(self) -> str:
        return self.env["PUBLIC_URL"]

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def log(self) -> str:
        """All that it wrote, on standard output and on standard error."""
        return (self.folder / "log").read_text()

    def access_log(self, at_least: int = 0) -> list[dict[str, Any]]:
        """Return what was logged; an answer may be sooner than its line."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            lines = [json.loads(line) for line in self.log.splitlines() if line.endswith("}")]
            access = [one for one in lines if one.get("logger", "").startswith("http.log.access")]
            if len(access) >= at_least:
                return access
            assert time.monotonic() < deadline, access[-3:]
            time.sleep(0.01)

    def command(self, action: str) -> list[str]:
        """The command line of an action: run, check or reload."""
        if self.kind == "nginx":
            return [str(NGINX_DIR / "start.sh"), action]
        verb = {"check": "validate"}.get(action, action)
        extra = ["--address", self.env["CADDY_ADMIN"], "--force"] if action == "reload" else []
        return [str(CADDY), verb, "--config", str(CADDYFILE), "--adapter", "caddyfile", *extra]

    def act(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(action),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("run"), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self.ask("/healthz", host="10.1.2.3").status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"{self.kind} did not start:\n{self.log}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(TIMEOUT_S)

    def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        host: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **more: str,
    ) -> Answer:
        """Send a request whose path goes out exactly as given; `more` are headers too."""
        sent = {"Host": host or self.host, **_headers(more), **(headers or {})}
        if body is not None and "Transfer-Encoding" not in sent:
            sent = {"Content-Length": str(len(body)), **sent}
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in sent.items())]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        return self.send(head + (body or b""), method=method)

    def send(self, request: bytes, *, method: str = "GET") -> Answer:
        """Send bytes as they are and read one answer."""
        with self.connect() as connection:
            # It may answer before it has read all.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            return read_answer(connection, method)

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as connection:
            yield connection

    def connect_to_tls_port(self) -> socket.socket:
        address = ("127.0.0.1", int(self.env["HTTPS_PORT"]))
        return socket.create_connection(address, timeout=TIMEOUT_S)

    @contextmanager
    def connect_tls(self, name: str) -> Iterator[ssl.SSLSocket]:
        """Connect with TLS under a name; who signed its certificate is not the question here."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            self.connect_to_tls_port() as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            yield connection


def _headers(more: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in more.items()}


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one answer; a connection that ends without one is an answer with status 0."""
    response = HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Answer(response.status, tuple(response.getheaders()), response.read())
    except (HTTPException, ConnectionResetError):
        return Answer(0, (), b"")
    finally:
        response.close()


@contextmanager
def open_door(
    kind: str, folder: Path, upstreams: Mapping[str, Upstream], **settings: str
) -> Iterator[Door]:
    """Run a proxy in front of upstreams; what a setting says may name PORT and TLS_PORT."""
    folder.mkdir(parents=True)
    port, tls_port = str(free_port()), str(free_port())
    defaults = {
        "PUBLIC_URL": "http://localhost:PORT",
        "SITE_ADDRESS": "http://localhost:PORT",
        "API_UPSTREAM": upstreams["api"].address,
        "HOT_UPSTREAM": upstreams["hot"].address,
        "STREAMLIT_UPSTREAM": upstreams["streamlit"].address,
        "PROXY_SECRET": SECRET,
    }
    chosen = {
        name: value.replace("TLS_PORT", tls_port).replace("PORT", port)
        for name, value in {**defaults, **settings}.items()
        if value
    }
    env = {
        **chosen,
        "PATH": os.environ["PATH"],
        "HTTP_PORT": port,
        "HTTPS_PORT": tls_port,
        "CADDY_ADMIN": f"unix/{folder / 'admin'}",
        "NGINX_RUN_DIR": str(folder / "nginx"),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    door = Door(kind, folder, env)
    door.start()
    for upstream in upstreams.values():
        upstream.public_urls.add(door.url)
    try:
        yield door
    finally:
        door.stop()
