"""Keeps the database's log outside of it: what Postgres calls to store a file and to fetch it back.

    python -I wal_archive.py store ARCHIVE PATH NAME
    python -I wal_archive.py fetch ARCHIVE NAME PATH

A file is compressed, appears under its name when it is whole and on disk, and is never replaced.
`fetch` ends with 1 when there is no such file, which is how recovery knows the end, and with 200
when it is there and cannot be read: above 125 recovery stops instead of taking it for the end.
"""

import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

NAME = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")
SUFFIX = ".gz"
# Most of a segment that was closed early is zeros, which the quickest level packs well.
LEVEL = 1
ABSENT, BROKEN = 1, 200


class ArchiveError(Exception):
    """The archive cannot take or give a file; the message says why and what to do."""


def store(archive: Path, source: Path, name: str) -> bool:
    """Add a file; the same again is nothing new, another content under a name is refused."""
    content = source.read_bytes()
    target = archive / f"{_checked(name)}{SUFFIX}"
    draft = archive / f".{target.name}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    try:
        write_through(draft, gzip.compress(content, LEVEL, mtime=0))
        # Unlike a rename, a link never replaces what is there.
        os.link(draft, target)
    except FileExistsError:
        if read(target) != content:
            raise ArchiveError(
                f"{target} is there already and differs: another database's archive?"
                " name another BACKUP_DIR"
            ) from None
    finally:
        draft.unlink(missing_ok=True)
    flush_folder(archive)
    return True


def fetch(archive: Path, name: str, target: Path) -> bool:
    """Give a file back; returns whether there is one."""
    source = archive / f"{_checked(name)}{SUFFIX}"
    if not source.exists():
        return False
    write_through(target, read(source))
    return True


def read(path: Path) -> bytes:
    """Return the content of an archived file; its check sum must be right."""
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArchiveError(f"{path} is damaged: {error}") from error


def write_through(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def flush_folder(folder: Path) -> None:
    """Write a folder's names down to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checked(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ArchiveError(f"{name!r} is no file of the log")
    return name


def main(arguments: Sequence[str]) -> int:
    """Do what Postgres asks."""
    verbs: dict[str, Callable[[], bool]] = {
        "store": lambda: store(Path(arguments[1]), Path(arguments[2]), arguments[3]),
        "fetch": lambda: fetch(Path(arguments[1]), arguments[2], Path(arguments[3])),
    }
    if len(arguments) != 4 or arguments[0] not in verbs:
        print(__doc__, file=sys.stderr)
        return BROKEN
    try:
        return 0 if verbs[arguments[0]]() else ABSENT
    except (ArchiveError, OSError) as error:
        print(f"archive: {error}", file=sys.stderr)
        return BROKEN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
