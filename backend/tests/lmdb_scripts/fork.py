"""Forks with an open store, and prints what the child and then the parent saw.

usage: fork.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lmdb_kit import open_store

from app.services.lmdb_errors import Forked


def in_child(folder: Path) -> dict[str, object]:
    """Use the parent's store, which must refuse, and then one of our own."""
    refused = 0
    for call in (lambda: STORE.get("quotes", "k"), lambda: STORE.put("quotes", "k", b"child")):
        try:
            call()
        except Forked:
            refused += 1
    STORE.close()
    own = open_store(folder)
    own.put("quotes", "child", b"written")
    own.close()
    return {"refused": refused}


FOLDER = Path(sys.argv[1])
STORE = open_store(FOLDER)
STORE.put("quotes", "k", b"parent")
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(writing, json.dumps(in_child(FOLDER)).encode())
    os._exit(0)
os.close(writing)
answer = json.loads(os.read(reading, 65536))
_, status = os.waitpid(pid, 0)
entry, child = STORE.get("quotes", "k"), STORE.get("quotes", "child")
STORE.put("quotes", "k", b"parent again")
STORE.close()
answer |= {
    "status": status,
    "parent": entry.value.decode() if entry else None,
    "child": child.value.decode() if child else None,
}
sys.stdout.write(json.dumps(answer))
