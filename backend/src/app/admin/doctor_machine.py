"""What the doctor looks at on this machine: files, disk, clocks, certificates, processes."""

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from app.admin.findings import Finding, Patient, fail, graded, ok, warn
from app.core.settings import is_loopback, is_placeholder
from native import backups, health, secret_files

SECRET_CHARACTERS_MIN = 16
DISK_WARN, DISK_FAIL = 0.90, 0.98
DISK_FREE_MIN = 512 * 1024 * 1024
CERTIFICATE_WARN_DAYS, CERTIFICATE_FAIL_DAYS = 21, 3
BACKUP_WARN_H, BACKUP_FAIL_H = 26, 24 * 7
# A header tells whole seconds.
HEADER_CLOCK_WARN_S, HEADER_CLOCK_FAIL_S = 2.0, 5.0
TIMEOUT_S = 5.0


def secret_files_are_private(it: Patient) -> Iterator[Finding]:
    """Look at each secret: there, closed, long, no placeholder, not that of another."""
    folder = it.settings.secrets_dir
    wrong = False
    values: dict[str, str] = {}
    for name in secret_files.NAMES:
        path = folder / name
        value = secret_files.read(path)
        if not value:
            wrong = True
            yield fail(f"secret {name} is missing", f"put it into {path}; docs/secrets.md")
            continue
        if is_placeholder(value) or len(value) < SECRET_CHARACTERS_MIN:
            wrong = True
            yield fail(f"secret {name} is a placeholder or short",
                       f"openssl rand -hex 32 > {path}, then as docs/secrets.md says")  # fmt: skip
        elif value in values:
            wrong = True
            yield warn(f"secrets {values[value]} and {name} are the same", "make one of them anew")
        values[value] = name
        if path.stat().st_mode & 0o022:
            wrong = True
            yield fail(f"secret {name} can be written by others", f"chmod 600 {path}")
    if folder.is_dir() and folder.stat().st_mode & 0o077:
        wrong = True
        yield fail(f"{folder} may be entered by others", f"chmod 700 {folder}")
    if not wrong:
        yield ok(f"{len(secret_files.NAMES)} secrets are there, and closed")


def disk(it: Patient) -> Iterator[Finding]:
    """See how full the disks are that must not be."""
    installation = it.machine.installation
    folders = {"data": installation.data, "hot store": it.machine.hot_store}
    if installation.backups:
        folders["backups"] = installation.backups
    for name, folder in folders.items():
        if folder.is_dir():
            yield room_on(name, folder)


def room_on(name: str, folder: Path) -> Finding:
    """Judge how full the disk of a folder is."""
    usage = shutil.disk_usage(folder)
    full = 1 - usage.free / usage.total
    return graded(
        max(full, DISK_FAIL if usage.free < DISK_FREE_MIN else 0.0),
        f"the disk of the {name} is {full:.0%} full, {usage.free >> 20} MiB are left",
        f"make room on the disk of {folder}: Postgres stops when it is full",
        warn_at=DISK_WARN,
        fail_at=DISK_FAIL,
    )


def backups_are_young(it: Patient) -> Iterator[Finding]:
    """See that there is a backup, how old it is, and that the log gets into the archive."""
    folder = it.machine.installation.backups
    if folder is None:
        yield warn(
            "there are no backups", "set BACKUP_DIR in .env, make down, make up; docs/backup.md"
        )
        return
    try:
        backups.require_private(folder)
    except backups.BackupError as error:
        yield fail(str(error), "all orders and passwords' hashes are in there")
        return
    there = backups.found(folder)
    if there:
        age_h = (datetime.now(UTC) - there[-1].taken_at).total_seconds() / 3600
        yield graded(
            age_h,
            f"{len(there)} backups, the newest {age_h:.0f} hours old",
            "informania-admin backup, best from a timer",
            warn_at=BACKUP_WARN_H,
            fail_at=BACKUP_FAIL_H,
        )
    else:
        yield fail(f"{folder} holds no backup", "informania-admin backup")
    (mode,) = it.row("SELECT current_setting('archive_mode')")
    count, failing, name = it.row(
        "SELECT archived_count, coalesce(last_failed_time > coalesce(last_archived_time,"
        " '-infinity'), FALSE), last_failed_wal FROM pg_stat_archiver"
    )
    if mode != "on":
        yield fail("the log is not archived: what came after a backup is lost with the disk",
                   "make down, make up: the server archives into BACKUP_DIR")  # fmt: skip
    elif failing:
        yield fail(f"the log is not archived since {name}", "the server's log says why")
    else:
        yield ok(f"the log is archived: {count} segments")


def certificate(it: Patient) -> Iterator[Finding]:
    """See until when the certificate of the public address is valid."""
    url = urlsplit(it.machine.installation.url)
    host = url.hostname or ""
    if url.scheme != "https":
        if is_loopback(host):
            yield ok("no certificate: only this machine reaches it")
        else:
            yield fail(f"{url.geturl()} is reached without TLS", "give PUBLIC_URL https://")
        return
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, url.port or 443), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as error:
        yield fail(f"the certificate of {host} is refused: {error.verify_message}",
                   "Caddy's log says why it got no new one")  # fmt: skip
        return
    except OSError as error:
        yield fail(f"{host} cannot be reached: {error}", "is the proxy running?")
        return
    days = (ends - time.time()) / 86_400
    yield graded(
        -days,
        f"the certificate of {host} is valid for {days:.0f} days",
        "Caddy renews by itself: its log says why it does not",
        warn_at=-CERTIFICATE_WARN_DAYS,
        fail_at=-CERTIFICATE_FAIL_DAYS,
    )


def processes(it: Patient) -> Iterator[Finding]:
    """Ask each process whether it is well."""
    if it.direct:
        yield ok("not asked: --direct")
        return
    ports, host = it.machine.installation.ports, it.machine.installation.host
    places = {
        "api": ("api", "/api/health/ready", f"127.0.0.1:{ports['api']}"),
        "worker": ("worker_metrics", "/healthz", f"127.0.0.1:{ports['worker_metrics']}"),
        "streamlit": ("streamlit", "/_stcore/health", f"127.0.0.1:{ports['streamlit']}"),
        "proxy": ("proxy", "/healthz", host),
    }
    for name, (port, path, called) in places.items():
        if asyncio.run(health.http_ok(ports[port], path, called)):
            yield ok(f"{name} is well")
        else:
            yield fail(f"{name} is not well", f"make status, make logs ARGS={name}")


def other_clocks(it: Patient) -> Iterator[Finding]:
    """Compare the clocks of the API and of the broker's side with this machine's."""
    installation = it.machine.installation
    ports = installation.ports
    venue = installation.setting("QC_URL", f"http://127.0.0.1:{ports['paper_qc']}/api/v2/")
    places = {} if it.direct else {"API": f"http://127.0.0.1:{ports['api']}/api/health/live"}
    for name, url in {**places, "broker's side": venue}.items():
        try:
            answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
            theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (httpx.HTTPError, KeyError, ValueError) as error:
            yield warn(f"the {name} tells no time: {error!r}"[:200], f"is {url} running?")
            continue
        # The header names the second that has begun.
        offset_s = max(0.0, abs(time.time() - theirs - 0.5) - 0.5)
        yield graded(
            offset_s,
            f"the clock of the {name} is within {offset_s:.1f} s of this machine's",
            "let chrony or the host set both clocks; signatures expire by them",
            warn_at=HEADER_CLOCK_WARN_S,
            fail_at=HEADER_CLOCK_FAIL_S,
        )


def environment(it: Patient) -> Iterator[Finding]:
    """Look for settings that only a template should hold."""
    held = it.machine.installation.environ
    found = [name for name, value in held.items() if value and is_placeholder(value)]
    env = Path(it.machine.installation.root / ".env")
    for name in sorted(found):
        yield fail(f"{name} holds a placeholder", f"give it a value in {env}, or remove the line")
    if not found:
        yield ok("no setting holds a placeholder")
