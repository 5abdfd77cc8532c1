"""The lock files hold what is asked for, at a version that was asked for, and nothing else."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from native.installation import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ;.*?)?(?: \\)?$", re.MULTILINE)
# lock file -> what is asked for
LOCKS = {
    "backend/requirements.txt": (
        "backend/requirements.in",
        "backend/pyproject.toml",
        "backend/worker/pyproject.toml",
        "backend/paper/pyproject.toml",
        "auth/supertokens/devcore/pyproject.toml",
    ),
    "backend/requirements-dev.txt": ("backend/requirements-dev.in",),
    "ui/streamlit/requirements.txt": ("ui/streamlit/requirements.in",),
    "tests/contract/requirements.txt": ("tests/contract/requirements.in",),
    "tests/contract/requirements-mcp.txt": ("tests/contract/requirements-mcp.in",),
}
# Installed together with no other.
APART = ("tests/contract/requirements.txt", "tests/contract/requirements-mcp.txt")
OURS = re.compile(r"informania-(backend|worker|paper|devcore)")


@dataclass(frozen=True)
class Pin:
    """One entry of a lock file: what it is, and who wanted it."""

    name: str
    version: str
    wanted_by: tuple[str, ...]
    hashes: int


@cache
def pins(lock: str) -> list[Pin]:
    """Read a lock file as uv writes it."""
    text = (ROOT / lock).read_text()
    starts = [*PIN.finditer(text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [_pin(match, text[match.end() : end]) for match, end in zip(starts, ends, strict=True)]


def _pin(match: re.Match[str], body: str) -> Pin:
    names = re.findall(r"^    #(?: via|  ) (?! via)(.+)$", body, re.MULTILINE)
    wanted = tuple(name.strip() for name in names if name.strip())
    return Pin(canonicalize_name(match[1]), match[2], wanted, body.count("--hash=sha256:"))


def asked(source: str) -> list[Requirement]:
    """Read what a person wrote."""
    text = (ROOT / source).read_text()
    if source.endswith(".toml"):
        lines = tomllib.loads(text)["project"]["dependencies"]
    else:
        lines = [line for line in text.splitlines() if line and not line.startswith(("#", "-c "))]
    return [it for it in map(Requirement, lines) if not OURS.fullmatch(it.name)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_that_is_asked_for(lock: str) -> None:
    pinned = {(pin.name, pin.version) for pin in pins(lock)}
    for source in LOCKS[lock]:
        for wanted in asked(source):
            versions = {it for name, it in pinned if name == canonicalize_name(wanted.name)}
            assert versions, f"{wanted} of {source} is not in {lock}: run `make lock`"
            assert all(it in wanted.specifier for it in versions), f"{wanted} of {source}"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_nothing_that_nobody_wants(lock: str) -> None:
    names = {pin.name for pin in pins(lock)}
    direct = {canonicalize_name(it.name) for source in LOCKS[lock] for it in asked(source)}
    for pin in pins(lock):
        people = [who for who in pin.wanted_by if who.startswith("-r ") or OURS.match(who)]
        others = [who for who in pin.wanted_by if who not in people and not who.startswith("-c ")]
        assert people or others, f"nobody wants {pin.name}"
        assert bool(people) == (pin.name in direct), f"{pin.name}: run `make lock`"
        assert {canonicalize_name(who) for who in others} <= names, pin.name


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_line_names_an_index(lock: str) -> None:
    assert [pin.name for pin in pins(lock) if not pin.hashes] == []
    assert "://" not in (ROOT / lock).read_text()


def test_what_two_locks_share_has_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS.keys() - {*APART}:
        for name in {pin.name for pin in pins(lock)}:
            found = "|".join(sorted(pin.version for pin in pins(lock) if pin.name == name))
            versions.setdefault(name, set()).add(found)
    assert {name: it for name, it in versions.items() if len(it) > 1} == {}
