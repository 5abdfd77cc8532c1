"""Anchors as files: what is signed, what a stranger checks, and where they lie."""

import json
import stat
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from app.audits.anchors import (
    Anchor,
    AnchorInvalid,
    Head,
    make_anchor,
    proof_holds,
    read_file,
    signing_key,
)
from app.audits.sinks import FolderSink, GitSink, Sink, SinkError, open_sink

KEY = signing_key("a" * 64)
NOW = datetime(2030, 1, 31, 12, 0, 0, 5, tzinfo=UTC)


def heads(*seqs: int) -> list[Head]:
    return [Head(number, seq, sha256(b"%d" % seq).digest()) for number, seq in enumerate(seqs)]


def anchor(*seqs: int, before: Anchor | None = None) -> Anchor:
    return make_anchor(heads(*seqs), anchored_at=NOW, before=before, key=KEY)


def test_an_anchor_survives_its_file_and_names_the_one_before() -> None:
    first = anchor(3, 4, 0)
    second = anchor(5, 4, 0, before=first)
    assert read_file(second.file()) == second
    assert (first.previous, second.previous) == ("", sha256(first.statement.encode()).hexdigest())
    assert first.name == "20300131T120000.000005Z-000000001.json"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heads", [[0, 3, "00" * 32], [1, 4, "00" * 32]]),
        ("heads", []),
        ("statement", "{}"),
        ("signature", "00" * 64),
        ("public_key", "00" * 32),
        ("public_key", "xx"),
        ("heads", None),
    ],
)
def test_a_changed_file_is_refused(field: str, value: Any) -> None:
    document = json.loads(anchor(3, 4).file())
    with pytest.raises(AnchorInvalid):
        read_file(json.dumps({**document, field: value}).encode())
    with pytest.raises(AnchorInvalid):
        read_file(b"no JSON")


def test_a_changed_statement_is_refused_even_with_its_heads() -> None:
    document = json.loads(anchor(3, 4).file())
    document["statement"] = document["statement"].replace('"number":1', '"number":2')
    with pytest.raises(AnchorInvalid, match="signature"):
        read_file(json.dumps(document).encode())


def test_a_proof_holds_for_its_stream_alone() -> None:
    made = anchor(3, 4, 9, 7, 1)
    for stream_id in range(5):
        proof = made.proof(stream_id)
        assert proof_holds(proof)
        assert not proof_holds({**proof, "leaf": '[2,9,"00"]'})
        assert not proof_holds({**proof, "index": (stream_id + 1) % 5})
        assert not proof_holds({**proof, "signature": "00" * 64})
    with pytest.raises(AnchorInvalid):
        made.proof(5)


@pytest.fixture(params=["folder", "git"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """An empty sink of each kind."""
    place = tmp_path / "sink"
    if request.param == "git":
        subprocess.run(["git", "init", "--quiet", "--bare", place], check=True)  # noqa: S607
    return open_sink(f"{request.param}:{place}")


def test_a_sink_keeps_each_file_once_and_unchanged(sink: Sink) -> None:
    assert sink.names() == []
    sink.put("2.json", b"second")
    sink.put("1.json", b"first")
    sink.put("2.json", b"second")
    assert sink.names() == ["1.json", "2.json"]
    assert sink.read("2.json") == b"second"
    with pytest.raises(SinkError):
        sink.put("1.json", b"forged")
    assert sink.read("1.json") == b"first"


def test_a_file_in_a_folder_is_nobodys_to_write(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "sink")
    sink.put("1.json", b"first")
    [path] = (tmp_path / "sink").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


def test_git_keeps_one_commit_a_file_and_pushes_forward_only(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)  # noqa: S607
    sink = GitSink(str(remote))
    for name in ("1.json", "2.json"):
        sink.put(name, name.encode())
    log = ["git", "-C", remote, "log", "--format=%s", "anchors"]
    assert subprocess.run(log, check=True, capture_output=True).stdout == b"2.json\n1.json\n"


@pytest.mark.parametrize("address", ["", "folder", "folder:", "git:", "s3://bucket/x", "/tmp/x"])  # noqa: S108
def test_an_address_that_is_not_served_is_refused(address: str) -> None:
    with pytest.raises(SinkError, match="is not served"):
        open_sink(address)


def test_a_sink_that_is_away_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError):
        FolderSink(tmp_path / "file/anchors").put("1.json", b"")
    with pytest.raises(SinkError):
        GitSink(str(tmp_path / "nowhere")).names()
