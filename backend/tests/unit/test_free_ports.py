"""What `tests/free_ports.py` gives is nobody else's."""

import socket
import subprocess
import sys
from pathlib import Path

from free_ports import BLOCK, LOOPBACK, free_port

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
TESTS = Path(__file__).resolve().parents[3] / "tests"


def test_a_port_is_given_once_and_never_while_somebody_listens() -> None:
    with socket.create_server((LOOPBACK, free_port())) as listener:
        taken = listener.getsockname()[1]
        given = [free_port() for _ in range(BLOCK)]
        assert taken not in given
        assert len(set(given[: BLOCK // 2])) == BLOCK // 2


def test_ports_in_a_row_go_around_one_that_is_taken() -> None:
    with socket.create_server((LOOPBACK, free_port())) as listener:
        taken = listener.getsockname()[1]
        for _ in range(BLOCK // 9):
            first = free_port(9)
            assert taken not in range(first, first + 9)


def test_no_port_is_one_that_the_kernel_gives_to_a_connection() -> None:
    lowest = int(EPHEMERAL.read_text().split()[0])
    assert max(free_port() for _ in range(BLOCK)) < lowest


def test_two_processes_never_have_the_same_port() -> None:
    ours = {free_port() for _ in range(BLOCK)}
    code = f"from free_ports import *; print(*(free_port() for _ in range({BLOCK})))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=TESTS
        )
        for _ in range(4)
    ]  # fmt: skip
    theirs = [set(process.communicate()[0].split()) for process in processes]
    assert all(theirs)
    assert not any(ours & set(map(int, ports)) for ports in theirs)
