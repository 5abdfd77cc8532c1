"""Makes the secrets of an installation, once, each in a file that only its owner reads."""

import os
import secrets
from pathlib import Path

NAMES = (
    "postgres_password",
    "app_migrate_password",
    "app_write_password",
    "app_worker_password",
    "app_read_password",
    "core_password",
    "core_api_key",
    "db_token_key",
    "webhook_hmac",
    "worker_token",
    "proxy_secret",
    "streamlit_cookie",
    "qc_token",
    "anchor_key",
)
SECRET_BYTES = 32
OWNER_ONLY = 0o600


class SecretError(Exception):
    """The secrets cannot be used as they are; the message says what to do."""


def ensure(folder: Path, *, mode: int = OWNER_ONLY) -> list[str]:
    """Make the secrets that are missing; return their names. What is there is never changed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return [
        name
        for name in NAMES
        if ensure_file(folder / name, secrets.token_hex(SECRET_BYTES), mode=mode)
    ]


def read(path: Path) -> str:
    """Return a secret; nothing before it was made, which every gate takes for wrong."""
    return path.read_text().strip() if path.is_file() else ""


def ensure_file(path: Path, value: str, *, mode: int = OWNER_ONLY) -> bool:
    """Write a secret unless there is one; return whether it was written."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise SecretError(f"{path} is not a plain file: put the secret itself there")
    if path.exists():
        path.chmod(mode)
        if not path.read_text().strip():
            raise SecretError(f"{path} is empty: put its value back, or remove it for a new one")
        return False
    _write_once(path, value, mode)
    return True


def _write_once(path: Path, value: str, mode: int) -> None:
    # A file appears under its name only when it is whole, even when the machine stops here.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    draft.rename(path)
