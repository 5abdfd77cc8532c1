"""Both proxies in front of the same upstreams, started once for all tests of this folder."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from proxy.doors import NGINX, Door, open_door
from proxy.upstream import Upstream, serving

KINDS = ("caddy", "nginx")
Open = Callable[..., Door]


@pytest.fixture(scope="session")
def upstreams() -> Iterator[dict[str, Upstream]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(serving(Upstream(name)))
            for name in ("api", "hot", "streamlit")
        }


@pytest.fixture(scope="session")
def open_one(upstreams: dict[str, Upstream]) -> Iterator[Open]:
    """Start a proxy with settings, or hand out the one that was started with them before."""
    doors: dict[tuple[str, tuple[tuple[str, str], ...]], Door] = {}
    # A unix socket's path is short, that of pytest's own folders is not.
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="proxy-") as folder:

        def opened(kind: str, **settings: str) -> Door:
            if kind == "nginx" and NGINX is None:
                pytest.skip("nginx is missing: apt-get install nginx-light")
            key = (kind, tuple(sorted(settings.items())))
            if key not in doors:
                place = Path(folder) / f"{kind}{len(doors)}"
                doors[key] = stack.enter_context(open_door(kind, place, upstreams, **settings))
            return doors[key]

        yield opened


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def door(kind: str, open_one: Open, upstreams: dict[str, Upstream]) -> Door:
    """A proxy as it runs on one machine, in front of upstreams that have seen nothing yet."""
    opened = open_one(kind)
    for upstream in upstreams.values():
        upstream.seen.clear()
    return opened


@pytest.fixture(scope="session", autouse=True)
def slow_headers(open_one: Open) -> dict[str, tuple[threading.Thread, list[float]]]:
    """Connections that say half a header and nothing more, opened first so that nobody waits."""
    lingering = {}
    for kind in KINDS if NGINX else KINDS[:1]:
        took: list[float] = []
        thread = threading.Thread(target=linger, args=(open_one(kind), took), daemon=True)
        thread.start()
        lingering[kind] = (thread, took)
    return lingering


def linger(door: Door, took: list[float]) -> None:
    """Note how long a connection with half a header is kept."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", door.port), timeout=30) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {door.host}\r\n".encode())
        connection.recv(100)
    took.append(time.monotonic() - began)
