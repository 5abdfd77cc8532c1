"""Carries messages to where their users want them: a process of its own, without our secrets.

Reads one JSON object a line from standard input, {channel_id, url, title, body}, and writes one for
each, {channel_id, error}. What a user names as address decides where this process connects, so it
knows nothing but those addresses, reaches the public internet alone unless --allow-private, starts
no program, and is killed when it takes too long.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

from app.services.notify_addresses import AddressRefused, hint_of, is_public

SIDE_BY_SIDE = 8
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.bind")
STATUS = re.compile(r"error=(\d{3})\b")


class Fence:
    """Refuses connections by where they really lead, whatever a name was resolved to before."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN:
            raise PermissionError(event)
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            self._check(arguments[1])

    def _check(self, address: Any) -> None:
        if self._allow_private:
            return
        try:
            host = ip_address(str(address[0]).partition("%")[0]) if address else None
        except ValueError:
            host = None
        if host is None or not is_public(host):
            raise PermissionError("not on the public internet")


class LastStatus(logging.Handler):
    """Remembers the HTTP status of a failure: of what the library says, that alone is told on."""

    def __init__(self) -> None:
        super().__init__()
        self.by_thread: dict[int | None, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        found = STATUS.search(record.getMessage())
        if found is not None:
            self.by_thread[record.thread] = found[1]


def deliver(message: dict[str, Any], *, allow_private: bool, statuses: LastStatus) -> str | None:
    """Send one message; what went wrong in a word, or None."""
    # Loaded here: what is imported before the fence stands could not be stopped by it.
    import threading  # noqa: PLC0415

    import apprise  # noqa: PLC0415

    try:
        hint_of(message["url"], allow_private=allow_private)
    except AddressRefused:
        return "address_refused"
    asset = apprise.AppriseAsset(app_id="Informania", app_desc="Informania", app_url="")
    channel = apprise.Apprise.instantiate(message["url"], asset=asset, suppress_exceptions=True)
    if channel is None:
        return "address_not_understood"
    statuses.by_thread.pop(threading.get_ident(), None)
    sent = channel.notify(body=message["body"], title=message["title"], body_format="text")
    if sent:
        return None
    status = statuses.by_thread.get(threading.get_ident())
    return f"refused_{status}" if status else "not_delivered"


def main() -> int:
    """Deliver what stands on standard input."""
    allow_private = "--allow-private" in sys.argv[1:]
    sys.addaudithook(Fence(allow_private=allow_private))
    statuses = LastStatus()
    logger = logging.getLogger("apprise")
    logger.addHandler(statuses)
    logger.propagate = False

    def carry(line: str) -> None:
        message = json.loads(line)
        try:
            error = deliver(message, allow_private=allow_private, statuses=statuses)
        except Exception as problem:
            error = type(problem).__name__
        told = {"channel_id": message["channel_id"], "error": error}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(carry, sys.stdin.read().splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
