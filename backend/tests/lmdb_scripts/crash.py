"""Kills a writer with SIGKILL again and again, and counts what it had acknowledged.

usage: crash.py FOLDER ROUNDS [early]

`early` acknowledges before the commit: the control, which must be found to lose writes.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lmdb_kit import open_store

from app.services.lmdb_rows import Durability, Operation

KEYS = [f"k{number:02}" for number in range(20)]
# The map is tiny at first and the values are large, so that kills meet growing maps too.
OPTIONS = {"map_size": 1 << 16, "durability": Durability.FULL}


def write(folder: Path, acknowledged: int, *, early: bool) -> None:
    """Write groups for ever; each goes to the pipe once it is acknowledged."""
    store = open_store(folder, **OPTIONS)
    entry = store.get("quotes", KEYS[0])
    number = int(entry.value[:12]) if entry else 0
    while True:
        number += 1
        value = f"{number:012}".encode() + bytes(random.randrange(2000))
        log = Operation.put("strategy", f"{number:012}", bytes(500))
        if early:
            os.write(acknowledged, f"{number}\n".encode())
        results = store.apply([log, *(Operation.put("quotes", key, value) for key in KEYS)])
        assert all(isinstance(version, int) for version in results)
        if not early:
            os.write(acknowledged, f"{number}\n".encode())


def one_round(folder: Path, *, early: bool) -> int:
    """Start a writer, kill it, and return the last group it had acknowledged."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            write(folder, writing, early=early)
        finally:
            os._exit(1)
    os.close(writing)
    first = os.read(reading, 65536)
    time.sleep(random.random() * 0.1)
    os.kill(pid, signal.SIGKILL)
    rest = b"".join(iter(lambda: os.read(reading, 65536), b""))
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    return int((first + rest).split()[-1])


def main() -> None:
    """Print how many groups were acknowledged, lost and half written."""
    folder, rounds, early = Path(sys.argv[1]), int(sys.argv[2]), "early" in sys.argv
    random.seed(20261123)
    groups = lost = partial = 0
    for _ in range(rounds):
        acknowledged = one_round(folder, early=early)
        store = open_store(folder, **OPTIONS)
        entries = [store.get("quotes", key) for key in KEYS]
        numbers = {int(entry.value[:12]) if entry else 0 for entry in entries}
        groups = max(numbers)
        partial += len(numbers) != 1
        lost += max(0, acknowledged - min(numbers))
        rows = store.stats("strategy").entries
        partial += rows != max(numbers)
        store.close()
    sys.stdout.write(
        json.dumps({"rounds": rounds, "groups": groups, "lost": lost, "partial": partial})
    )


main()
