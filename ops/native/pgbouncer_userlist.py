"""Writes PgBouncer's user list from the secrets: the two roles that come through the pooler.

    python -m native.pgbouncer_userlist SECRETS_DIR FILE

The worker, migrations and the identity core hold sessions and stay out of it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

POOLED_ROLES = ("app_write", "app_read")
FILE_NAME = "pgbouncer_userlist"


def userlist(passwords: dict[str, str]) -> str:
    """Return the lines of the file.

    Passwords, not SCRAM verifiers: bootstrap makes new verifiers each time it runs, and PgBouncer
    can only pass on one that is equal to the server's to the last byte.
    """
    return "".join(f"{_quoted(role)} {_quoted(passwords[role])}\n" for role in POOLED_ROLES)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def write_userlist(secrets_dir: Path, target: Path, *, mode: int = 0o600) -> bool:
    """Write the file when it is not yet what the secrets say; return whether it was written."""
    passwords = {
        role: (secrets_dir / f"{role}_password").read_text().strip() for role in POOLED_ROLES
    }
    wanted = userlist(passwords)
    if target.is_file() and target.read_text() == wanted:
        target.chmod(mode)
        return False
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(wanted)
    draft.chmod(mode)
    draft.rename(target)
    return True


def main(arguments: Sequence[str]) -> int:
    """Write the file that the arguments name; return the exit code."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m native.pgbouncer_userlist SECRETS_DIR FILE\n")
        return 2
    secrets_dir, target = map(Path, arguments)
    try:
        write_userlist(secrets_dir, target)
    except OSError as error:
        sys.stderr.write(f"pgbouncer_userlist: {error.filename}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
