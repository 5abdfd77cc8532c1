"""Free ports of loopback, for servers that a test starts as processes of their own.

A server binds its port a moment after the test has chosen it. So a port is never one that the
kernel may give to somebody's outgoing connection in between (those begin at 32768, ip(7)), and
each process takes its ports from a block that no other process has.
"""

import random
import socket
from contextlib import suppress
from functools import cache

LOOPBACK = "127.0.0.1"
FIRST, END, BLOCK = 20_000, 32_700, 100


class _Block:
    """Ports that are this process's alone, given out one after the other."""

    def __init__(self) -> None:
        # A name without a file: the kernel keeps it for one process, and forgets it with it.
        self._claim = socket.socket(socket.AF_UNIX)
        self.first = self._next = self._claimed()

    def _claimed(self) -> int:
        blocks = range(FIRST, END, BLOCK)
        for first in random.SystemRandom().sample(blocks, len(blocks)):
            with suppress(OSError):
                self._claim.bind(f"\0informania-ports-{first}")
                return first
        raise RuntimeError(f"each of the {len(blocks)} blocks of ports is some process's")

    def take(self, count: int) -> int:
        """Return the first of so many ports in a row that nobody holds."""
        end = self.first + BLOCK
        for _ in range(BLOCK):
            first = self._next if self._next + count <= end else self.first
            self._next = first + count
            if all(_is_free(port) for port in range(first, first + count)):
                return first
        raise RuntimeError(f"no {count} ports in a row are free from {self.first} to {end - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@cache
def _block() -> _Block:
    return _Block()


def free_port(count: int = 1) -> int:
    """Return a port that nobody listens on, or the first of several in a row."""
    return _block().take(count)
