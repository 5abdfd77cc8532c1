"""The whole store against a dictionary, step by step, and against py-lmdb at the end."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import lmdb
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lmdb_kit import open_store

from app.services.lmdb_errors import Aborted, Conflict, LmdbError
from app.services.lmdb_rows import Kind, Operation

PAST_MS, FUTURE_MS = 1, 4_000_000_000_000
TABLES = st.sampled_from(["quotes", "strategy"])
KEYS = st.sampled_from([b"a", b"aa", b"ab", b"b", b"\x00", b"\xff" * 511, b"c" * 40])
VALUES = st.one_of(st.binary(max_size=20), st.integers(0, 9000).map(bytes))
EXPIRES = st.sampled_from([0, 0, FUTURE_MS, PAST_MS])
WHICH = st.sampled_from(["any", "any", "absent", "current", "stale"])


Planned = tuple[Kind, str, bytes, bytes, str, int]


@dataclass
class Kept:
    value: bytes
    version: int
    expires_ms: int


class HotStore(RuleBasedStateMachine):
    """Every operation in any order; the dictionary says what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hot-store-model-"))
        self.path = self.folder / "store"
        self.store = open_store(self.path, map_size=1 << 16)
        self.kept: dict[tuple[str, bytes], Kept] = {}
        self.last_version = 0
        self.backups = 0

    def live(self, table: str, key: bytes) -> Kept | None:
        kept = self.kept.get((table, key))
        return kept if kept is not None and kept.expires_ms != PAST_MS else None

    def operation(self, planned: Planned) -> Operation:
        kind, table, key, value, which, expires_ms = planned
        kept = self.live(table, key)
        current = kept.version if kept else 0
        if_version = {"any": None, "absent": 0, "current": current, "stale": 4095}[which]
        put = kind is Kind.PUT
        return Operation(
            kind, table, key, value if put else b"", if_version, expires_ms if put else 0
        )

    def expect(self, operation: Operation) -> str:
        kept = self.live(operation.table, operation.key)
        current = kept.version if kept else 0
        allowed = operation.if_version in (None, current)
        return "done" if allowed else "conflict"

    def take(self, operation: Operation, result: int | LmdbError) -> None:
        """Check one result and change the dictionary like the store."""
        place = (operation.table, operation.key)
        kept = self.live(*place)
        current = kept.version if kept else 0
        if self.expect(operation) == "conflict":
            assert isinstance(result, Conflict)
            assert result.version == current
        elif operation.kind is Kind.DELETE:
            assert result == current
            self.kept.pop(place, None)
        else:
            assert isinstance(result, int)
            assert result > self.last_version
            self.last_version = result
            self.kept[place] = Kept(operation.value, result, operation.expires_ms)

    operations = st.tuples(
        st.sampled_from([Kind.PUT, Kind.PUT, Kind.DELETE]), TABLES, KEYS, VALUES, WHICH, EXPIRES
    )

    @rule(planned=st.lists(operations, min_size=1, max_size=8, unique_by=lambda each: each[1:3]))
    def apply(self, planned: list[Planned]) -> None:
        group = [self.operation(each) for each in planned]
        for operation, result in zip(group, self.store.apply(group), strict=True):
            self.take(operation, result)

    @rule(planned=st.lists(operations, min_size=2, max_size=4, unique_by=lambda each: each[1:3]))
    def apply_atomic(self, planned: list[Planned]) -> None:
        group = [self.operation(each) for each in planned]
        expected = [self.expect(operation) for operation in group]
        results = self.store.apply(group, atomic=True)
        if "conflict" not in expected:
            for operation, result in zip(group, results, strict=True):
                self.take(operation, result)
            return
        for outcome, result in zip(expected, results, strict=True):
            assert isinstance(result, Conflict if outcome == "conflict" else Aborted)

    @rule(table=TABLES)
    def sweep(self, table: str) -> None:
        over = [
            place
            for place, kept in self.kept.items()
            if place[0] == table and kept.expires_ms == PAST_MS
        ]
        assert self.store.sweep(table) == (len(over), None)
        for place in over:
            del self.kept[place]

    @rule(
        table=TABLES, prefix=st.sampled_from([b"", b"a", b"aa", b"\xff"]), limit=st.integers(1, 4)
    )
    def scan(self, table: str, prefix: bytes, limit: int) -> None:
        seen: list[tuple[bytes, bytes, int]] = []
        position = None
        while True:
            page = self.store.scan(table, prefix=prefix, position=position, limit=limit)
            assert not page.damaged
            seen += [(row.key, row.value, row.version) for row in page.rows]
            position = page.position
            if position is None:
                break
        assert seen == [
            (key, kept.value, kept.version)
            for (where, key), kept in sorted(self.kept.items())
            if where == table and key.startswith(prefix) and kept.expires_ms != PAST_MS
        ]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.path, map_size=1 << 16)

    @precondition(lambda self: self.backups < 2)
    @rule()
    def restore_a_backup(self) -> None:
        self.backups += 1
        copy = self.folder / f"backup-{self.backups}"
        self.store.backup(copy)
        self.store.close()
        self.path = copy
        self.store = open_store(copy, map_size=1 << 16)

    @invariant()
    def every_row_is_as_kept(self) -> None:
        for table, key in list(self.kept):
            entry = self.store.get(table, key)
            kept = self.live(table, key)
            assert (entry is None) == (kept is None)
            if entry is not None and kept is not None:
                assert (entry.value, entry.version) == (kept.value, kept.version)

    def teardown(self) -> None:
        self.store.close()
        try:
            with lmdb.open(str(self.path), readonly=True, max_dbs=4) as other:
                for table in ("quotes", "strategy"):
                    database = other.open_db(table.encode(), create=False)
                    with other.begin(db=database) as reading:
                        rows = {bytes(key): bytes(value)[24:] for key, value in reading.cursor()}
                    expected = {
                        key: kept.value
                        for (where, key), kept in self.kept.items()
                        if where == table
                    }
                    assert rows == expected
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


HotStore.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestHotStoreAgreesWithADictionary = HotStore.TestCase
