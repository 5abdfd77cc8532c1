"""Where anchors lie outside the database; side effect: a folder, or a Git repository.

A sink takes a file once and never changes it. `ANCHOR_SINK` names one: `folder:/path`, which may be
a mount of another machine, or `git:/path-or-address`. `s3://` is not served: write to a mounted
bucket as a folder, or add a sink here that implements `Sink` with object lock.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

GIT_TIMEOUT_S = 60.0
GIT_BRANCH = "anchors"
AUTHOR = ("-c", "user.name=Informania", "-c", "user.email=anchors@localhost")


class SinkError(Exception):
    """The sink cannot be used; the message says why."""


class Sink(Protocol):
    """What keeps anchors; every method may block."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def read(self, name: str) -> bytes:
        """Return a file."""

    def put(self, name: str, content: bytes) -> None:
        """Add a file; the same again is nothing new, another content under a name is refused."""


def open_sink(address: str) -> Sink:
    """Return the sink of an address."""
    kind, _, place = address.partition(":")
    if kind == "folder" and place:
        return FolderSink(Path(place))
    if kind == "git" and place:
        return GitSink(place)
    raise SinkError(
        f"ANCHOR_SINK={address!r} is not served: say folder:/path or git:/path-or-address."
    )


class FolderSink:
    """A folder, best one that this machine can only add to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(path.name for path in self._folder.glob("*.json"))

    def read(self, name: str) -> bytes:
        """Return a file."""
        return (self._folder / name).read_bytes()

    def put(self, name: str, content: bytes) -> None:
        """Add a file; it appears when it is whole and on disk."""
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            _put_once(self._folder, name, content)
        except OSError as error:
            raise SinkError(f"{self._folder} takes no anchor: {error.strerror}") from error


def _put_once(folder: Path, name: str, content: bytes) -> None:
    draft = folder / f".{name}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        # Unlike a rename, a link never replaces what is there.
        os.link(draft, folder / name)
    except FileExistsError as error:
        if (folder / name).read_bytes() != content:
            raise SinkError(f"{folder / name} is there already, and says something else") from error
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class GitSink:
    """A branch of a Git repository that is only ever pushed forward; needs `git`."""

    def __init__(self, remote: str) -> None:
        self._remote = remote

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        with self._copy() as copy:
            return FolderSink(copy).names()

    def read(self, name: str) -> bytes:
        """Return a file."""
        with self._copy() as copy:
            return FolderSink(copy).read(name)

    def put(self, name: str, content: bytes) -> None:
        """Commit a file and push it; a push that is not forward is refused."""
        with self._copy() as copy:
            if name in FolderSink(copy).names():
                FolderSink(copy).put(name, content)
                return
            FolderSink(copy).put(name, content)
            _git(copy, "add", name)
            _git(copy, *AUTHOR, "commit", "--quiet", "--no-gpg-sign", "--message", name)
            _git(copy, "push", "--quiet", self._remote, f"HEAD:refs/heads/{GIT_BRANCH}")

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        with TemporaryDirectory(prefix="informania-anchors-") as folder:
            copy = Path(folder)
            _git(copy, "init", "--quiet", f"--initial-branch={GIT_BRANCH}")
            branch = f"refs/heads/{GIT_BRANCH}"
            if _git(copy, "ls-remote", self._remote, branch).strip():
                _git(copy, "fetch", "--quiet", "--depth=1", self._remote, branch)
                _git(copy, "reset", "--quiet", "--hard", "FETCH_HEAD")
            yield copy


def _git(folder: Path, *words: str) -> str:
    # Nobody is there to be asked for a password.
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *words],  # noqa: S607 - whichever is installed
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SinkError(f"git cannot be used: {error}") from error
    if done.returncode:
        raise SinkError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout
