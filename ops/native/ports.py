"""Says which ports are taken, and by whom."""

import contextlib
import errno
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from native.processes import command_of

LISTEN = "0A"


def taken(ports: Mapping[str, int], host: str = "127.0.0.1") -> list[str]:
    """Return one sentence for each port that cannot be had."""
    return [
        f"port {port} ({name}) {refusal}{_by_whom(port)}"
        for name, port in ports.items()
        if (refusal := _refusal(host, port))
    ]


def _refusal(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        # As the services do: connections that are only fading away are no obstacle.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
            candidate.listen(1)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            return "is taken" if in_use else f"cannot be had: {error.strerror}"
    return ""


def _by_whom(port: int) -> str:
    for pid in _holders(_listening_inodes(port)):
        return f" by process {pid} ({command_of(pid)})"
    return ""


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _holders(inodes: set[str]) -> list[int]:
    found = []
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        with contextlib.suppress(OSError):
            folder = f"/proc/{pid}/fd"
            if any(os.readlink(f"{folder}/{number}") in inodes for number in os.listdir(folder)):
                found.append(pid)
    return found
