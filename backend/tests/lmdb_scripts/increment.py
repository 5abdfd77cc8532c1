"""Adds to one counter by compare-and-set, beside other processes that do the same.

usage: increment.py FOLDER TIMES
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lmdb_kit import open_store

from app.services.lmdb_errors import Conflict

store = open_store(Path(sys.argv[1]), map_size=1 << 16)
conflicts = done = 0
while done < int(sys.argv[2]):
    entry = store.get("strategy", "counter")
    number, version = (int(entry.value), entry.version) if entry else (0, 0)
    try:
        store.put("strategy", "counter", b"%d" % (number + 1), if_version=version)
    except Conflict:
        conflicts += 1
        continue
    done += 1
    # Rows of some size make the file outgrow the map of the other processes.
    store.put("quotes", f"{number:06}", bytes(3000))
sys.stdout.write(
    json.dumps({"done": done, "conflicts": conflicts, "grows": store.stats("quotes").grows})
)
store.close()
