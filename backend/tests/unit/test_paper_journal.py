"""The journal: what was appended is there after any cut; damage in the middle is told."""

from pathlib import Path

import pytest

from paper.journal import Journal, JournalDamaged, encode, read
from paper.object_store import ObjectStore

RECORDS = [{"kind": "order", "tag": f"örder-{n}", "quantity": "1.5"} for n in range(3)]


def write(path: Path) -> bytes:
    journal = Journal(path)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def test_a_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    write(tmp_path / "journal")
    assert Journal(tmp_path / "journal").records == RECORDS


def test_what_is_not_synced_is_not_there_after_a_kill(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append(RECORDS[0])
    journal.sync()
    journal.append(RECORDS[1])
    assert read(tmp_path / "journal")[0] == RECORDS[:1]


def test_a_cut_at_every_byte_of_the_last_record_loses_that_record_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = write(path)
    last = len(encode(RECORDS[-1]))
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        journal = Journal(path)
        assert journal.records == RECORDS[:-1]
        journal.append({"kind": "after"})
        journal.close()
        assert read(path)[0] == [*RECORDS[:-1], {"kind": "after"}]


def test_a_torn_last_line_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = write(path)
    for rest in (b"\x00" * 40, b"deadbeef {}\n", b"\n", b"not a record"):
        path.write_bytes(whole + rest)
        assert Journal(path).records == RECORDS


def test_damage_before_the_last_record_stops_the_start_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = bytearray(write(path))
    whole[12] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(JournalDamaged, match="line 1"):
        Journal(path)


def test_an_object_is_replaced_as_a_whole_and_survives_a_new_store(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store")
    assert store.save("bridge/1/orders/a-b_c", "one")
    assert store.save("bridge/1/orders/a-b_c", "two")
    store.commit()
    again = ObjectStore(tmp_path / "store")
    assert again.keys == ["bridge/1/orders/a-b_c"]
    assert again.read("bridge/1/orders/a-b_c") == "two"
    again.delete("bridge/1/orders/a-b_c")
    again.commit()
    assert not ObjectStore(tmp_path / "store").contains_key("bridge/1/orders/a-b_c")


def test_objects_are_written_together_and_not_before_they_are_committed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store")
    store.save("one", "1")
    store.save("two", "2")
    store.save("one", "3")
    assert [store.keys, store.read("one")] == [["one", "two"], "3"]
    assert ObjectStore(tmp_path / "store").keys == []
    store = ObjectStore(tmp_path / "store")
    for name, text in (("one", "1"), ("two", "2"), ("one", "3")):
        store.save(name, text)
    store.commit()
    records, _ = read(tmp_path / "store" / "objects.log")
    assert [(record["name"], record["text"]) for record in records] == [("two", "2"), ("one", "3")]


def test_a_log_that_grew_is_written_anew_with_what_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paper.object_store.LOG_SIZE_MIN", 1_000)
    store = ObjectStore(tmp_path / "store")
    store.save("kept", "x" * 100)
    for number in range(200):
        store.save("changed", f"{number}" * 20)
        store.commit()
    assert (tmp_path / "store" / "objects.log").stat().st_size < 2_000
    again = ObjectStore(tmp_path / "store")
    assert [again.read("kept"), again.read("changed")] == ["x" * 100, "199" * 20]


def test_a_torn_end_of_the_log_loses_the_last_object_alone(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store")
    store.save("one", "1")
    store.save("two", "2")
    store.commit()
    path = tmp_path / "store" / "objects.log"
    path.write_bytes(path.read_bytes()[:-3])
    assert ObjectStore(tmp_path / "store").keys == ["one"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b", "/root", "."])
def test_an_objects_name_cannot_leave_the_store(tmp_path: Path, name: str) -> None:
    store = ObjectStore(tmp_path / "deep" / "store")
    assert store.save(name, "x")
    store.commit()
    assert store.keys == [name]
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "store"]
    assert outside == []
