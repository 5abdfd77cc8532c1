"""The hot store keeps what it acknowledged, says what it cannot do, and survives its users."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import lmdb
import pytest
from lmdb_kit import LIBRARY, SCRIPTS, open_store, run_script

from app.services.lmdb_errors import (
    Aborted,
    Conflict,
    Corrupt,
    KeyInvalid,
    LmdbError,
    MapFull,
    StoreClosed,
    TableUnknown,
    ValueTooLarge,
)
from app.services.lmdb_rows import VALUE_BYTES_MAX, Kind, Operation
from app.services.lmdb_store import LmdbStore

PAST_MS = 1


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


def verify(path: Path) -> str:
    """Let py-lmdb's own verifier, which shares no code with us, walk the file."""
    done = subprocess.run(
        [sys.executable, "-m", "lmdb", "verify", path], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_what_was_put_is_got_with_its_version_and_expiry(store: LmdbStore) -> None:
    version = store.put("quotes", "AAPL", b"20.50", ttl_s=60)
    entry = store.get("quotes", b"AAPL")
    assert entry is not None
    assert (entry.value, entry.version) == (b"20.50", version)
    assert entry.expires_at is not None
    assert 55 < (entry.expires_at - datetime.now(UTC)).total_seconds() <= 60
    assert store.get("strategy", "AAPL") is None


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000, VALUE_BYTES_MAX])
def test_values_of_any_size_come_back_whole(store: LmdbStore, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    store.put("quotes", "k", value[:size])
    entry = store.get("quotes", "k")
    assert entry is not None
    assert entry.value == value[:size]


def test_a_key_has_1_to_511_bytes_and_a_value_1_mib(store: LmdbStore) -> None:
    store.put("quotes", "k" * 511, b"")
    for key in ("", "k" * 512, "ü" * 256):
        with pytest.raises(KeyInvalid):
            store.put("quotes", key, b"")
        with pytest.raises(KeyInvalid):
            store.get("quotes", key)
    with pytest.raises(ValueTooLarge):
        store.put("quotes", "k", bytes(VALUE_BYTES_MAX + 1))


def test_a_version_compares_and_a_conflict_names_the_current_one(store: LmdbStore) -> None:
    first = store.put("strategy", "k", b"1", if_version=0)
    with pytest.raises(Conflict) as caught:
        store.put("strategy", "k", b"2", if_version=0)
    assert caught.value.version == first
    second = store.put("strategy", "k", b"2", if_version=first)
    assert second > first
    with pytest.raises(Conflict):
        store.delete("strategy", "k", if_version=first)
    assert store.delete("strategy", "k", if_version=second)
    assert not store.delete("strategy", "k")
    with pytest.raises(Conflict):
        store.delete("strategy", "k", if_version=second)


def test_an_expired_row_is_absent_and_a_sweep_removes_it(store: LmdbStore) -> None:
    expired = Operation(Kind.PUT, "quotes", b"old", b"x", expires_ms=PAST_MS)
    store.apply([expired, Operation.put("quotes", "new", b"y", ttl_s=60)])
    assert store.get("quotes", "old") is None
    assert store.stats("quotes").entries == 2
    page = store.scan("quotes")
    assert ([row.key for row in page.rows], page.expired) == ([b"new"], [b"old"])
    assert store.sweep("quotes") == (1, None)
    assert store.stats("quotes").entries == 1
    assert store.apply([Operation(Kind.EXPIRE, "quotes", b"new")]) == [0]
    assert store.get("quotes", "new") is not None


def test_a_failing_operation_of_a_group_fails_alone(store: LmdbStore) -> None:
    held = store.put("quotes", "held", b"1")
    results = store.apply(
        [
            Operation.put("quotes", "a", b"1"),
            Operation.put("quotes", "held", b"2", if_version=0),
            Operation.put("quotes", "", b"1"),
            Operation.delete("quotes", "absent"),
            Operation.put("strategy", "a", b"2"),
        ]
    )
    assert isinstance(results[1], Conflict)
    assert results[1].version == held
    assert isinstance(results[2], KeyInvalid)
    assert results[3] == 0
    versions = [results[0], results[4]]
    assert all(isinstance(version, int) for version in versions)
    assert held < versions[0] < versions[1]  # type: ignore[operator]
    entry = store.get("strategy", "a")
    assert entry is not None
    assert entry.version == versions[1]


def test_an_atomic_group_is_written_whole_or_not_at_all(store: LmdbStore) -> None:
    before = store.stats("quotes").txn_id
    good = Operation.put("quotes", "a", b"1")
    bad = Operation.put("quotes", "b", b"1", if_version=7)
    results = store.apply([good, bad], atomic=True)
    assert isinstance(results[0], Aborted)
    assert isinstance(results[1], Conflict)
    assert store.get("quotes", "a") is None
    assert store.stats("quotes").txn_id == before
    assert all(isinstance(each, int) for each in store.apply([good, good], atomic=True))


def test_a_group_that_changes_nothing_commits_nothing(store: LmdbStore) -> None:
    before = store.stats("quotes").txn_id
    store.apply([Operation.delete("quotes", "absent")])
    assert store.stats("quotes").txn_id == before


@pytest.mark.parametrize("count", [0, 4097])
def test_a_group_has_1_to_4096_operations(store: LmdbStore, count: int) -> None:
    with pytest.raises(LmdbError, match="1 to 4096"):
        store.apply([Operation.put("quotes", "k", b"")] * count)


def test_a_scan_goes_on_where_the_last_page_ended(store: LmdbStore) -> None:
    keys = [f"{letter}{number:03}".encode() for letter in "abc" for number in range(50)]
    store.apply([Operation.put("quotes", key, key * 3) for key in reversed(keys)])
    seen: list[bytes] = []
    position: bytes | None = None
    while True:
        page = store.scan("quotes", prefix=b"b", position=position, limit=7)
        seen += [row.key for row in page.rows]
        assert all(row.value == row.key * 3 for row in page.rows)
        position = page.position
        if position is None:
            break
        # What happens behind the position does not disturb the rest.
        store.delete("quotes", seen[-1])
    assert seen == keys[50:100]
    assert not store.scan("quotes", prefix=b"zzz").rows


def test_a_page_of_a_scan_is_bounded_by_bytes_too(store: LmdbStore) -> None:
    for number in range(4):
        store.put("quotes", f"{number}", bytes(VALUE_BYTES_MAX))
    page = store.scan("quotes", bytes_max=1)
    assert [row.key for row in page.rows] == [b"0"]
    rest = store.scan("quotes", position=page.position, bytes_max=3 * VALUE_BYTES_MAX)
    assert [row.key for row in rest.rows] == [b"1", b"2"]


def test_a_tiny_map_grows_by_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size=1 << 16)
    value = bytes(1000)
    for start in range(0, 3000, 500):
        keys = [f"{number:06}" for number in range(start, start + 500)]
        assert all(
            isinstance(version, int)
            for version in store.apply([Operation.put("quotes", key, value) for key in keys])
        )
    stats = store.stats("quotes")
    assert stats.entries == 3000
    assert stats.grows >= 5
    assert stats.map_size > 3_000_000
    store.close()
    assert "OK" in verify(tmp_path / "store")


def test_a_map_that_may_not_grow_refuses_and_goes_on(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size=1 << 20, map_size_max=1 << 20)
    store.put("quotes", "first", b"1")
    large = [Operation.put("quotes", f"{number}", bytes(50_000)) for number in range(100)]
    with pytest.raises(MapFull):
        store.apply(large)
    store.apply(large[:10])
    assert store.get("quotes", "first") is not None
    for number in range(100):
        store.delete("quotes", f"{number}")
    store.put("quotes", "again", b"1")
    store.close()
    assert "OK" in verify(tmp_path / "store")


def test_py_lmdb_reads_what_we_wrote(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    rows = {f"k{number:03}".encode(): bytes([number % 256]) * number for number in range(300)}
    versions = {key: store.put("quotes", key, value, ttl_s=3600) for key, value in rows.items()}
    store.delete("quotes", b"k000")
    store.close()
    with lmdb.open(str(path), readonly=True, max_dbs=4) as other:
        table = other.open_db(b"quotes", create=False)
        with other.begin(db=table) as transaction:
            found = {bytes(key): bytes(value) for key, value in transaction.cursor()}
    assert found.keys() == rows.keys() - {b"k000"}
    for key, stored in found.items():
        assert int.from_bytes(stored[:8], "little") == versions[key]
        assert int.from_bytes(stored[8:16], "little") / 1000 - time.time() > 3500
        assert stored[24:] == rows[key]
    assert "OK" in verify(path)


def test_a_row_that_py_lmdb_wrote_without_our_header_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    store.put("quotes", "ours", b"1")
    store.close()
    with lmdb.open(str(path), max_dbs=4) as other:
        table = other.open_db(b"quotes", create=False)
        with other.begin(db=table, write=True) as transaction:
            transaction.put(b"theirs", b"a value without a header, of some length")
    with pytest.raises(Corrupt, match="1 of 2 rows"):
        open_store(path)
    salvaged = open_store(path, salvage=True)
    with pytest.raises(Corrupt):
        salvaged.get("quotes", "theirs")
    assert salvaged.get("quotes", "ours") is not None
    page = salvaged.scan("quotes")
    assert ([row.key for row in page.rows], page.damaged) == ([b"ours"], [b"theirs"])
    salvaged.put("quotes", "theirs", b"repaired")
    salvaged.close()
    open_store(path).close()


def test_a_folder_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "store"), max_dbs=4) as other, other.begin(write=True) as writing:
        writing.put(b"a", b"b", db=other.open_db(b"theirs", txn=writing))
    before = (tmp_path / "store" / "data.mdb").read_bytes()
    with pytest.raises(LmdbError, match=r"not one of ours|damaged"):
        open_store(tmp_path / "store")
    assert (tmp_path / "store" / "data.mdb").read_bytes() == before


def test_a_backup_opens_and_versions_never_go_back_in_it(store: LmdbStore, tmp_path: Path) -> None:
    store.put("quotes", "k", b"1")
    store.backup(tmp_path / "backup")
    later = store.put("quotes", "k", b"2")
    with pytest.raises(LmdbError, match="exists"):
        store.backup(tmp_path / "backup")
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["data.mdb"]
    restored = open_store(tmp_path / "backup")
    entry = restored.get("quotes", "k")
    assert entry is not None
    assert entry.value == b"1"
    # The compact copy begins with transaction 1 again; versions do not.
    assert restored.stats("quotes").txn_id < store.stats("quotes").txn_id
    time.sleep(0.002)
    assert restored.put("quotes", "k", b"3") > later
    restored.close()
    assert "OK" in verify(tmp_path / "backup")


def test_a_failed_backup_leaves_nothing_behind(store: LmdbStore, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    store.close()
    with pytest.raises(StoreClosed):
        store.backup(folder / "one")
    assert not list(folder.iterdir())


def test_a_closed_store_refuses_and_closing_twice_is_fine(store: LmdbStore) -> None:
    store.close()
    store.close()
    for call in (
        lambda: store.get("quotes", "k"),
        lambda: store.put("quotes", "k", b""),
        lambda: store.scan("quotes"),
        store.sync,
    ):
        with pytest.raises(StoreClosed):
            call()


def test_an_unknown_table_and_a_folder_open_twice_are_named(store: LmdbStore) -> None:
    with pytest.raises(TableUnknown, match="'nothing'"):
        store.get("nothing", "k")
    with pytest.raises(LmdbError, match="open already"):
        LmdbStore(store.path, LIBRARY)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        LmdbStore(tmp_path / "file", LIBRARY)


def test_a_child_after_a_fork_is_refused_and_the_parent_unharmed(tmp_path: Path) -> None:
    seen = run_script("fork", tmp_path / "store")
    assert seen == {"refused": 2, "status": 0, "parent": "parent", "child": "written"}


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    writers = [
        subprocess.Popen(
            [sys.executable, SCRIPTS / "increment.py", path, "150"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = []
    for writer in writers:
        output, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
        answers.append(json.loads(output))
    assert sum(answer["grows"] for answer in answers) > 0
    store = open_store(path)
    entry = store.get("strategy", "counter")
    assert entry is not None
    assert entry.value == b"450"
    assert store.stats("quotes").entries == 450
    store.close()
    assert "OK" in verify(path)


@pytest.mark.crash
def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    counted = run_script("crash", tmp_path / "store", "25")
    assert counted["groups"] > 50
    assert (counted["lost"], counted["partial"]) == (0, 0)
    assert "OK" in verify(tmp_path / "store")


@pytest.mark.crash
def test_the_crash_count_finds_a_writer_that_acknowledges_too_early(tmp_path: Path) -> None:
    assert run_script("crash", tmp_path / "store", "10", "early")["lost"] > 0


def test_a_damaged_file_is_refused_or_served_true_and_never_a_signal(tmp_path: Path) -> None:
    outcome = run_script("damage", tmp_path, "20261123")
    assert outcome["wrong"] == {}
    for kind in ("flipped", "zeroed", "truncated", "misplaced", "noise"):
        assert outcome["counts"][f"{kind} refused"] > 0


def test_stale_readers_of_killed_processes_are_freed(store: LmdbStore, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import lmdb, sys, time\n"
            f"env = lmdb.open({str(store.path)!r}, max_dbs=4)\n"
            "transaction = env.begin()\n"
            "print('open', flush=True)\n"
            "time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    assert store.reader_check() == 0
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert store.reader_check() == 1


def test_a_lock_file_of_another_age_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_store(path)
    store.put("quotes", "k", b"1")
    store.close()
    for content in (b"", b"\xff" * 8192, bytes(100)):
        (path / "lock.mdb").write_bytes(content)
        opened = open_store(path)
        assert opened.get("quotes", "k") is not None
        opened.close()
    shutil.rmtree(path)
