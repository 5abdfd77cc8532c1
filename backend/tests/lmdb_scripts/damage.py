"""Damages a copy of a file in many ways, and uses it as if nothing had happened.

usage: damage.py FOLDER SEED. What comes out must be an error or the truth: never a wrong row, and
never a signal (the caller looks at the exit status).
"""

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lmdb_kit import open_store

from app.services.lmdb_errors import LmdbError
from app.services.lmdb_rows import Operation
from app.services.lmdb_store import LmdbStore

PAGE = 4096
TABLES = ("quotes", "strategy")
Truth = dict[tuple[str, bytes], bytes]


def make(folder: Path) -> tuple[bytes, Truth]:
    """Make a store with branches, large values and a free list."""
    store = open_store(folder)
    truth: Truth = {}
    for number in range(400):
        key = f"key-{number:04}".encode()
        value = bytes([number % 256]) * (6000 if number % 40 == 0 else 100)
        store.put(TABLES[number % 2], key, value)
        truth[(TABLES[number % 2], key)] = value
    for number in range(0, 400, 7):
        key = f"key-{number:04}".encode()
        store.delete(TABLES[number % 2], key)
        del truth[(TABLES[number % 2], key)]
    store.close()
    return (folder / "data.mdb").read_bytes(), truth


def damages(image: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield damaged copies of the file."""
    pages = len(image) // PAGE
    metas = [8 * PAGE * page + bit for page in (0, 1) for bit in range(8 * 152)]
    heads = [8 * PAGE * page + bit for page in range(2, pages) for bit in range(8 * 80)]
    anywhere = range(8 * len(image))
    bits = [bit for part in (metas, heads, anywhere) for bit in random.sample(part, 250)]
    # The transaction ids: here a flip could bring the older snapshot back.
    bits += [8 * (PAGE * page + 144) + bit for page in (0, 1) for bit in range(64)]
    for bit in bits:
        copy = bytearray(image)
        copy[bit // 8] ^= 1 << bit % 8
        yield "flipped", bytes(copy)
    for page in range(0, pages, 2):
        yield "zeroed", image[: page * PAGE] + bytes(PAGE) + image[(page + 1) * PAGE :]
        yield "truncated", image[: page * PAGE]
        yield "truncated", image[: page * PAGE + random.randrange(PAGE)]
        other = random.randrange(pages)
        swapped = image[other * PAGE : (other + 1) * PAGE]
        yield "misplaced", image[: page * PAGE] + swapped + image[(page + 1) * PAGE :]
    for _ in range(50):
        start = random.randrange(len(image))
        noise = random.randbytes(random.randrange(1, 2 * PAGE))
        yield "noise", (image[:start] + noise + image[start + len(noise) :])[: len(image)]


def wrong_rows(store: LmdbStore, truth: Truth, *, salvage: bool) -> int:
    """Count rows that are served and not true, or missing without a word."""
    wrong = 0
    for (table, key), value in truth.items():
        try:
            entry = store.get(table, key)
        except LmdbError:
            continue
        served = entry.value if entry else None
        # What salvaging cannot read, it may miss; what it serves is true.
        wrong += served != value and not (salvage and entry is None)
    for table in TABLES:
        page = store.scan(table)
        wrong += sum(1 for row in page.rows if truth.get((table, row.key)) != row.value)
    return wrong


def use(folder: Path, truth: Truth, *, salvage: bool) -> tuple[str, int]:
    """Open the damaged file, compare every row, and write to it."""
    try:
        store = open_store(folder, salvage=salvage)
    except LmdbError:
        return "refused", 0
    wrong = wrong_rows(store, truth, salvage=salvage)
    store.apply([Operation.put("quotes", f"new-{number}", bytes(500)) for number in range(50)])
    for table, key in list(truth)[::9]:
        store.delete(table, key)
    store.close()
    return "served", wrong


def main() -> None:
    """Print how often a damaged file was refused, and what was wrong otherwise."""
    random.seed(int(sys.argv[2]))
    folder = Path(sys.argv[1])
    image, truth = make(folder / "whole")
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    target = folder / "damaged"
    for kind, copy in damages(image):
        if copy == image:
            continue
        for salvage in (False, True):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            (target / "data.mdb").write_bytes(copy)
            expected = {} if not copy else truth
            outcome, count = use(target, expected, salvage=salvage)
            counts[f"{kind} {outcome}{' salvaging' if salvage else ''}"] += 1
            wrong[kind] += count
    sys.stdout.write(json.dumps({"counts": counts, "wrong": +wrong}))


main()
