"""Takes base backups of a Postgres, checks them, and lays one as a new data folder.

A backup folder holds `base/NAME/` (`data/` as pg_basebackup wrote it, with its manifest of check
sums, and what the caller adds beside it) and `wal/`, where wal_archive.py stores the log.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from native import postgres, wal_archive

ARCHIVER = Path(wal_archive.__file__).resolve()
ARCHIVE_TIMEOUT_S = 60
BACKUP_TIMEOUT_S = 3600
# The log that is written meanwhile comes with the backup.
SPARE_BYTES = 64 * 1024 * 1024
SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{16})\.gz")
LOG_BYTES = 0x1_0000_0000


class BackupError(Exception):
    """A backup cannot be made or used; the message says why and what to do."""


@dataclass(frozen=True)
class Backup:
    """One base backup."""

    folder: Path

    @property
    def data(self) -> Path:
        """The copy of the data folder."""
        return self.folder / "data"

    @property
    def name(self) -> str:
        """When it was begun, in UTC: names sort by time."""
        return self.folder.name

    @property
    def taken_at(self) -> datetime:
        """When it was begun."""
        return datetime.strptime(self.name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def require_private(folder: Path) -> None:
    """Refuse a folder that others may enter: all orders and passwords' hashes are in it."""
    if not folder.is_dir():
        raise BackupError(f"{folder} is not there: make it, or name another folder of backups")
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise BackupError(
            f"{folder} may be entered by others (mode {mode:o}): close it with chmod 700"
        )


def archive_args(archive: Path, owner: os.stat_result) -> list[str]:
    """Return the server's options for keeping its log in a folder, which is made if need be."""
    archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive.mkdir(mode=0o700, exist_ok=True)
    require_private(archive)
    if archive.stat().st_uid != owner.st_uid:
        os.chown(archive, owner.st_uid, owner.st_gid)
    command = f"{_archiver('store', archive)} %p %f"
    return [
        *("-c", "archive_mode=on", "-c", f"archive_timeout={ARCHIVE_TIMEOUT_S}s"),
        *("-c", f"archive_command={command}"),
    ]


def _archiver(verb: str, archive: Path) -> str:
    words = (sys.executable, "-I", str(ARCHIVER), verb, str(archive))
    return " ".join(shlex.quote(word) for word in words).replace("%", "%%")


def take(
    binaries: Path, backups: Path, *, port: int, password: str, size: int, host: str = "127.0.0.1"
) -> Path:
    """Copy a running server's data; returns a draft folder, which `keep` gives its name."""
    require_private(backups)
    free = shutil.disk_usage(backups).free
    if free < size + SPARE_BYTES:
        raise BackupError(
            f"{backups} has {free >> 20} MiB left, the database takes"
            f" {(size + SPARE_BYTES) >> 20} MiB: remove old backups, or name another folder"
        )
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    draft = backups / "base" / f".{name}.partial"
    draft.parent.mkdir(mode=0o700, exist_ok=True)
    draft.mkdir(mode=0o700)
    try:
        _run(
            binaries / "pg_basebackup",
            *(f"--pgdata={draft / 'data'}", "--wal-method=stream", "--checkpoint=fast"),
            *("--manifest-checksums=SHA256", "--no-password", f"--host={host}", f"--port={port}"),
            f"--username={postgres.SUPERUSER}",
            password=password,
        )
        _verify(binaries, draft / "data")
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return draft


def keep(draft: Path) -> Backup:
    """Give a draft its name, once all of it is on disk."""
    backup = Backup(draft.with_name(draft.name.strip(".").removesuffix(".partial")))
    os.sync()
    draft.rename(backup.folder)
    wal_archive.flush_folder(backup.folder.parent)
    return backup


def found(backups: Path) -> list[Backup]:
    """Return the backups of a folder, the oldest first."""
    folders = (backups / "base").glob("[0-9]*Z")
    return sorted((Backup(folder) for folder in folders), key=lambda it: it.name)


def prune(backups: Path, count: int) -> list[str]:
    """Remove all but the newest backups, and the log that none of those needs; returns names."""
    there = found(backups)
    gone, kept = there[:-count], there[-count:]
    for backup in gone:
        shutil.rmtree(backup.folder)
    label = (kept[0].data / "backup_label").read_text()
    first = re.search(r"\(file [0-9A-F]{8}([0-9A-F]{16})\)", label)
    for path in (backups / "wal").glob("*.gz"):
        match = SEGMENT.fullmatch(path.name)
        # As pg_archivecleanup does: a segment's place counts, whichever timeline it is of.
        if match and first and match[2] < first[1]:
            path.unlink()
    return [backup.name for backup in gone]


def chosen(backups: Path, name: str | None) -> Backup:
    """Return a backup by its name, or the newest one."""
    require_private(backups)
    there = found(backups)
    if name is None and there:
        return there[-1]
    for backup in there:
        if backup.name == name:
            return backup
    names = ", ".join(it.name for it in there) or "none"
    raise BackupError(f"{backups} holds no backup {name or ''}: there are {names}")


def before(backups: Path, until: datetime) -> str | None:
    """Return the name of the newest backup that was begun before a moment."""
    names = [it.name for it in found(backups) if it.taken_at < until]
    return names[-1] if names else None


def verify(binaries: Path, backup: Backup) -> None:
    """Compare a backup with its check sums, and its version with the programs."""
    try:
        made_by = (backup.data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise BackupError(f"{backup.folder} is no backup: {error.strerror}") from error
    version = postgres.major_version(binaries)
    if made_by != str(version):
        raise BackupError(
            f"{backup.folder} was made by Postgres {made_by}, but {binaries} holds {version}:"
            f" set PG_BIN to a Postgres {made_by}"
        )
    _verify(binaries, backup.data)


def _verify(binaries: Path, data: Path) -> None:
    # Its log is checked by recovery itself; pg_waldump may not be there.
    _run(binaries / "pg_verifybackup", "--no-parse-wal", "--quiet", str(data))


def check_archive(backup: Backup, archive: Path) -> tuple[int, str | None]:
    """Read the log after a backup: how many segments there are, and the first that is missing.

    Each is read to its end, for recovery would take a damaged one for the end of the log.
    """
    ranges = json.loads((backup.data / "backup_manifest").read_text())["WAL-Ranges"]
    timeline, end = ranges[-1]["Timeline"], ranges[-1]["End-LSN"]
    high, low = (int(part, 16) for part in end.split("/"))
    numbers: dict[int, Path] = {}
    size = 0
    for path in archive.glob("*.gz") if archive.is_dir() else ():
        match = SEGMENT.fullmatch(path.name)
        if match and int(match[1], 16) == timeline:
            size = size or len(wal_archive.read(path))
            log, segment = int(match[2][:8], 16), int(match[2][8:], 16)
            numbers[log * (LOG_BYTES // size) + segment] = path
    first = (high * LOG_BYTES + low - 1) // size if size else 0
    after = {number: path for number, path in numbers.items() if number >= first}
    for number in range(first, max(after, default=first - 1) + 1):
        if number not in after:
            log, segment = divmod(number, LOG_BYTES // size)
            return len(after), f"{timeline:08X}{log:08X}{segment:08X}"
        if len(wal_archive.read(after[number])) != size:
            raise BackupError(f"{after[number]} is damaged: it is no whole segment")
    return len(after), None


def require_empty(folder: Path) -> None:
    """Refuse a folder with anything in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(
            f"{folder} is not empty: nothing is restored over data; move it away first"
        )


def lay(backup: Backup, data_dir: Path, *, archive: Path, until: datetime | None) -> None:
    """Copy a backup to an empty folder, and tell the server there to recover once it starts."""
    require_empty(data_dir)
    draft = data_dir.with_name(f"{data_dir.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    size = sum(path.stat().st_size for path in backup.data.rglob("*") if path.is_file())
    draft.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (free := shutil.disk_usage(draft.parent).free) < size + SPARE_BYTES:
        raise BackupError(f"{draft.parent} has {free >> 20} MiB left, {size >> 20} MiB are needed")
    shutil.copytree(backup.data, draft, symlinks=True)
    draft.chmod(0o700)
    settings = {
        "restore_command": f"{_archiver('fetch', archive)} %f %p",
        "recovery_target_action": "promote",
        # What was restored once before has a line of its own, which is not followed.
        "recovery_target_timeline": "current",
        # Nobody is let in before it has come to its end.
        "hot_standby": "off",
        **({"recovery_target_time": until.isoformat()} if until else {}),
    }
    with (draft / "postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
    # Without it the server would start from the backup alone and say nothing of what it misses.
    (draft / "recovery.signal").touch()
    os.sync()
    if data_dir.exists():
        data_dir.rmdir()
    draft.rename(data_dir)


def settle(data_dir: Path, kept: str) -> None:
    """Take the settings of the recovery back."""
    (data_dir / "postgresql.auto.conf").write_text(kept)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _run(program: Path, *arguments: str, password: str = "") -> None:
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    command: Sequence[str] = (str(program), *arguments)
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=BACKUP_TIMEOUT_S,
            env={**environ, **({"PGPASSWORD": password} if password else {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BackupError(f"{program.name} did not finish in {BACKUP_TIMEOUT_S} s") from None
    except OSError as error:
        raise BackupError(f"{program} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        why = done.stderr.strip()[-800:] or f"ended with {done.returncode}"
        raise BackupError(f"{program.name}: {why}")
