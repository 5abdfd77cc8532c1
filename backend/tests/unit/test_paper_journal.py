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
    again = ObjectStore(tmp_path / "store")
    assert again.keys == ["bridge/1/orders/a-b_c"]
    assert again.read("bridge/1/orders/a-b_c") == "two"
    again.delete("bridge/1/orders/a-b_c")
    assert not store.contains_key("bridge/1/orders/a-b_c")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b", "/root", "."])
def test_an_objects_name_cannot_leave_the_store(tmp_path: Path, name: str) -> None:
    store = ObjectStore(tmp_path / "deep" / "store")
    assert store.save(name, "x")
    assert store.keys == [name]
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "store"]
    assert outside == []
