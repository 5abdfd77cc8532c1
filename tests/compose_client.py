"""A whole platform in containers, which tests see as they see one on this machine."""

import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from platform_client import ROOT, Platform

# Place after the first port -> (service, its port inside): what tests look at behind the door.
BEHIND = {2: ("streamlit", 8501), 4: ("postgres", 5432), 7: ("paper", 5613)}
CHUNK = 65_536


class Forwarder:
    """A port of this machine that leads to one inside a container, wherever that is just now."""

    def __init__(self, platform: "ComposePlatform", port: int, service: str, inside: int) -> None:
        self._platform, self._service, self._inside = platform, service, inside
        self._listener = socket.create_server(("127.0.0.1", port))
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            address = self._platform.address_of(self._service)
            far = socket.create_connection((address, self._inside), 5)
        except (OSError, LookupError):
            near.close()
            return
        far.settimeout(None)
        self._sockets |= {near, far}
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        for one in (near, far):
            self._sockets.discard(one)
            one.close()

    def close(self) -> None:
        """Stop listening and end what goes on."""
        # Else the thread that waits for the next one never hears of it.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@dataclass
class ComposePlatform(Platform):
    """One installation in containers: `make up MODE=docker` with a project of its own."""

    profiles: str = "devcore"
    forwarders: list[Forwarder] = field(default_factory=list)

    def native(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the handles as the Makefile does."""
        together = arguments == ("up",)
        return self.command(str(ROOT / "scripts/run_all.sh"), *arguments, together=together)

    def command(self, *arguments: str, together: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a program of this installation; what it complains of comes beside what it prints."""
        environment = {
            **os.environ,
            "MODE": "docker",
            "PROFILES": self.profiles,
            "RUN_DIR": str(self.run_dir),
            "HTTP_PORT": str(self.port_base),
            **self.env,
        }
        environment.pop("PORT_BASE", None)
        return subprocess.run(
            [*arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            text=True,
            timeout=1800,
            check=False,
        )

    def start(self) -> Self:
        super().start()
        self.forwarders = [
            Forwarder(self, self.port_base + place, service, port)
            for place, (service, port) in BEHIND.items()
        ]
        return self

    def stop(self) -> None:
        for forwarder in self.forwarders:
            forwarder.close()
        self.native("down")
        ours = f"label=com.docker.compose.project={self.env['COMPOSE_PROJECT_NAME']}"
        if volumes := docker("volume", "ls", "--quiet", "--filter", ours).split():
            docker("volume", "rm", *volumes)

    def status(self) -> dict[str, Any]:
        """How the containers fare; `pid` is the service itself, below the container's init."""
        state = super().status()
        for facts in state["services"].values():
            if facts["pid"]:
                facts["pid"] = _child_of(facts["pid"])
        return state

    def crash(self, service: str) -> None:
        """Kill the process of a service, below the container's init."""
        os.kill(self.status()["services"][service]["pid"], signal.SIGKILL)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of the container of a service."""
        wanted = f"label=com.docker.compose.service={service}"
        ours = f"label=com.docker.compose.project={self.env['COMPOSE_PROJECT_NAME']}"
        found = docker("ps", "--all", "--quiet", "--filter", wanted, "--filter", ours).split()
        if not found:
            raise LookupError(f"there is no container of {service}")
        inspected: dict[str, Any] = json.loads(docker("inspect", found[0]))[0]
        return inspected

    def address_of(self, service: str) -> str:
        """An address at which this machine reaches a service."""
        networks = self.container(service)["NetworkSettings"]["Networks"].values()
        addresses = [network["IPAddress"] for network in networks if network["IPAddress"]]
        if not addresses:
            raise LookupError(f"{service} is not running")
        return str(addresses[0])


def docker(*arguments: str) -> str:
    """What the engine says."""
    command = ["docker", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid
