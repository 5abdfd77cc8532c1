"""What the development core is told by its environment, and where it refuses to run."""

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path


class Refused(SystemExit):
    """The development core does not start here; the text says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """Where to listen, where to keep state, how long things live."""

    host: str
    port: int
    database_host: str
    database_port: int
    database_name: str
    core_password: str
    core_api_key: str
    access_validity_ms: int
    refresh_validity_ms: int
    key_lifetime_ms: int
    wait_s: int


def load() -> Settings:
    """Read the environment; refuse production and addresses that others can reach."""
    if (app_env := os.environ.get("APP_ENV", "")) not in ("dev", "test"):
        raise Refused(
            f"devcore: APP_ENV is '{app_env}'. This is a stand-in for development and tests; "
            "run supertokens/supertokens-postgresql instead, or set APP_ENV to dev or test."
        )
    return Settings(
        host=_address(os.environ.get("DEVCORE_HOST", "127.0.0.1")),
        port=_number("DEVCORE_PORT", 3567),
        database_host=os.environ.get("DATABASE_HOST", "127.0.0.1"),
        database_port=_number("DATABASE_PORT", 5433),
        database_name=os.environ.get("DATABASE_NAME", "informania"),
        core_password=_secret("core_password"),
        core_api_key=_secret("core_api_key"),
        access_validity_ms=_number("DEVCORE_ACCESS_VALIDITY_MS", 3_600_000),
        refresh_validity_ms=_number("DEVCORE_REFRESH_VALIDITY_MS", 100 * 86_400_000),
        key_lifetime_ms=_number("DEVCORE_KEY_LIFETIME_MS", 168 * 3_600_000),
        wait_s=_number("DEVCORE_WAIT_S", 60),
    )


def _address(host: str) -> str:
    try:
        found = [ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)]
    except OSError as error:
        raise Refused(f"devcore: DEVCORE_HOST '{host}' is not known: {error}") from error
    private = os.environ.get("DEVCORE_ALLOW_PRIVATE") == "1"
    near = [a.is_loopback or (private and a.is_private and not a.is_unspecified) for a in found]
    if all(near):
        return host
    raise Refused(
        f"devcore: DEVCORE_HOST '{host}' is no loopback address. Use 127.0.0.1, or a private "
        "address (a container's own name) together with DEVCORE_ALLOW_PRIVATE=1."
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise Refused(f"devcore: {name} is '{text}', not a whole number above 0.")


def _secret(name: str) -> str:
    path = Path(os.environ.get("SECRETS_DIR", "secrets")) / name
    text = os.environ.get(name.upper()) or (path.read_text().strip() if path.is_file() else "")
    if len(text) < 16:
        raise Refused(f"devcore: no secret of at least 16 characters in {path} (SECRETS_DIR).")
    return text
